/* trace_json.c - a request in a JSON object: chat, completion, OpenAI batch, or bare lengths. */
#include "trace.h"

#include "dgo_text.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

/* What one line is being read into. */
struct reading {
    const struct dgo_trace_format *format;
    const struct dgo_trace_counter *counter;
    struct dgo_trace_request request;
    const char *problem;
};

static const json_t *member(const json_t *object, const char *a, const char *b)
{
    const json_t *found = json_object_get(object, a);

    return found && b ? json_object_get(found, b) : found;
}

/* Tokens that the engine puts around a prompt. */
static uint32_t begins_with(const struct reading *reading)
{
    return reading->counter ? reading->counter->prompt_tokens : 0;
}

/* A whole number of tokens under the first of these names that there is. */
static bool number_of(const json_t *object, const char *const *names, uint32_t *tokens)
{
    for (size_t i = 0; names[i]; i++) {
        const json_t *value = json_object_get(object, names[i]);
        const double number = json_number_value(value);

        if (!json_is_number(value))
            continue;
        if (!(number >= 0) || number > DGO_REQUEST_TOKENS_MAX || number != floor(number))
            return false;
        *tokens = (uint32_t)number;
        return true;
    }
    return false;
}

static bool add_text(struct reading *reading, const char *text, size_t length, uint64_t *sum)
{
    uint64_t tokens;

    if (!trace_count(reading->counter, text, length, &reading->request, &tokens)) {
        reading->problem = "its tokens cannot be counted";
        return false;
    }
    *sum += tokens;
    return true;
}

static bool add_value(struct reading *reading, const json_t *value, uint64_t *sum);

/* Numbers are token ids; objects are parts of a message. */
static bool add_array(struct reading *reading, const json_t *array, uint64_t *sum)
{
    size_t i;
    json_t *item;

    json_array_foreach(array, i, item)
    {
        if (json_is_integer(item))
            *sum += 1;
        else if (!add_value(reading, item, sum))
            return false;
    }
    return true;
}

/* Text, token ids, or a part {"type": "text", "text": ...}; what is no text (an image) is not
 * counted, and the length an estimate. */
static bool add_value(struct reading *reading, const json_t *value, uint64_t *sum)
{
    if (json_is_string(value))
        return add_text(reading, json_string_value(value), json_string_length(value), sum);
    if (json_is_array(value))
        return add_array(reading, value, sum);
    if (json_is_object(value)) {
        const json_t *text = json_object_get(value, "text");

        if (text)
            return add_value(reading, text, sum);
        reading->request.estimated = true;
    }
    return true;
}

static bool is_answer(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));

    if (!role)
        role = json_string_value(json_object_get(message, "from"));
    return role && (strcmp(role, "assistant") == 0 || strcmp(role, "gpt") == 0);
}

/* A chat.  Where it ends with the assistant's words, they are what was generated. */
static bool add_messages(struct reading *reading, const json_t *messages, uint64_t *prompt)
{
    const size_t count = json_array_size(messages);
    uint64_t generated = 0;

    for (size_t i = 0; i < count; i++) {
        const json_t *message = json_array_get(messages, i);
        const json_t *content = json_object_get(message, "content");
        const bool answer = i > 0 && i + 1 == count && is_answer(message);

        if (!content)
            content = json_object_get(message, "value");
        if (!add_value(reading, content, answer ? &generated : prompt))
            return false;
        if (reading->counter && !answer)
            *prompt += reading->counter->message_tokens;
        if (answer && generated <= DGO_REQUEST_TOKENS_MAX && !reading->request.generated_known) {
            reading->request.generated_known = true;
            reading->request.request.generated_tokens = (uint32_t)generated;
        }
    }
    return true;
}

static const json_t *first_of(const json_t *object, const char *const *names)
{
    const json_t *found = NULL;

    for (size_t i = 0; names[i] && !found; i++)
        found = json_object_get(object, names[i]);
    return found;
}

/* Lengths that somebody counted before us; `whole` is the line, `body` the request in it. */
static bool read_counts(struct reading *reading, const json_t *whole, const json_t *body)
{
    static const char *const prompt[] = {"prompt_tokens", "input_tokens",  "input_length",
                                         "prompt_len",    "ContextTokens", NULL};
    static const char *const generated[] = {"completion_tokens",
                                            "output_tokens",
                                            "output_length",
                                            "generated_tokens",
                                            "output_len",
                                            "GeneratedTokens",
                                            NULL};
    const struct dgo_trace_format *format = reading->format;
    const char *const named_prompt[] = {format->prompt_name, NULL};
    const char *const named_generated[] = {format->generated_name, NULL};
    const json_t *usage = member(member(whole, "response", "body"), "usage", NULL);
    struct dgo_request *request = &reading->request.request;

    if (!usage)
        usage = json_object_get(body, "usage");
    reading->request.generated_known =
        (format->generated_name[0] &&
         number_of(whole, named_generated, &request->generated_tokens)) ||
        number_of(usage, generated, &request->generated_tokens) ||
        number_of(whole, generated, &request->generated_tokens);
    return (format->prompt_name[0] && number_of(whole, named_prompt, &request->prompt_tokens)) ||
           number_of(usage, prompt, &request->prompt_tokens) ||
           number_of(whole, prompt, &request->prompt_tokens);
}

/* Texts that have to be counted; false: there are none, or they cannot be. */
static bool read_texts(struct reading *reading, const json_t *body)
{
    static const char *const chats[] = {"messages", "conversations", NULL};
    static const char *const prompts[] = {"prompt", "input", "text", "content", "question", NULL};
    static const char *const answers[] = {"completion", "output", "response", "answer", NULL};
    const json_t *chat = first_of(body, chats), *prompt = first_of(body, prompts);
    uint64_t sum = 0, generated = 0;

    if (json_is_array(chat)) {
        if (!add_messages(reading, chat, &sum))
            return false;
    } else if (json_is_string(prompt) || json_is_array(prompt)) {
        const json_t *answer = first_of(body, answers);

        if (!add_value(reading, prompt, &sum))
            return false;
        if (json_is_string(answer) && !reading->request.generated_known) {
            if (!add_value(reading, answer, &generated) || generated > DGO_REQUEST_TOKENS_MAX)
                return false;
            reading->request.generated_known = true;
            reading->request.request.generated_tokens = (uint32_t)generated;
        }
    } else {
        reading->problem = "it holds neither lengths, nor messages, nor a prompt";
        return false;
    }
    if (sum > DGO_REQUEST_TOKENS_MAX) {
        reading->problem = "its prompt is impossibly long";
        return false;
    }
    reading->request.request.prompt_tokens = (uint32_t)sum + begins_with(reading);
    return true;
}

static void read_arrival(struct reading *reading, const json_t *whole)
{
    static const struct {
        const char *name;
        double unit_s;
    } names[] = {{"timestamp", 1},      {"TIMESTAMP", 1}, {"arrived_at", 1},
                 {"arrival_time", 1},   {"arrival_s", 1}, {"created", 1},
                 {"created_at", 1},     {"time", 1},      {"arrival_ms", 1e-3},
                 {"timestamp_ms", 1e-3}};
    double *seconds = &reading->request.request.arrival_s;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *value = json_object_get(whole, names[i].name);

        if (json_is_number(value) && isfinite(json_number_value(value))) {
            *seconds = json_number_value(value) * names[i].unit_s;
            reading->request.arrival_known = true;
        } else if (json_is_string(value)) {
            reading->request.arrival_known =
                trace_time(json_string_value(value), names[i].unit_s, seconds);
        }
        if (reading->request.arrival_known)
            return;
    }
}

/* "prompt": ["one", "two"] is a request for each. */
static enum dgo_trace_verdict take_each(struct reading *reading, const json_t *prompts,
                                        dgo_trace_take_fn take, void *data)
{
    for (size_t i = 0; i < json_array_size(prompts); i++) {
        uint64_t tokens = 0;

        if (!add_value(reading, json_array_get(prompts, i), &tokens) ||
            tokens > DGO_REQUEST_TOKENS_MAX) {
            reading->problem = "its tokens cannot be counted";
            return DGO_TRACE_BAD;
        }
        reading->request.request.prompt_tokens = (uint32_t)tokens + begins_with(reading);
        if (take(&reading->request, data) != DGO_OK)
            return DGO_TRACE_FAILED;
    }
    return DGO_TRACE_TAKEN;
}

static enum dgo_trace_verdict read_object(struct reading *reading, const json_t *whole,
                                          dgo_trace_take_fn take, void *data)
{
    const json_t *body = json_object_get(whole, "body");
    const json_t *prompts;

    if (!json_is_object(body))
        body = whole;
    prompts = json_object_get(body, "prompt");
    read_arrival(reading, whole);
    if (!read_counts(reading, whole, body)) {
        const json_t *first = json_array_get(prompts, 0);

        if (json_is_string(first) || json_is_array(first))
            return take_each(reading, prompts, take, data);
        if (!read_texts(reading, body))
            return DGO_TRACE_BAD;
    }
    return take(&reading->request, data) == DGO_OK ? DGO_TRACE_TAKEN : DGO_TRACE_FAILED;
}

enum dgo_trace_verdict trace_json_line(const struct dgo_trace_format *format, const char *line,
                                       size_t length, const struct dgo_trace_counter *counter,
                                       dgo_trace_take_fn take, void *data, char *why)
{
    struct reading reading = {.format = format, .counter = counter};
    struct dgo_text text = {.data = why, .size = DGO_TRACE_WHY_MAX};
    json_error_t error;
    json_t *whole = json_loadb(line, length, JSON_ALLOW_NUL, &error);
    enum dgo_trace_verdict verdict = DGO_TRACE_BAD;

    if (!whole) {
        dgo_text_addf(&text, "it is no JSON: ");
        dgo_text_add_escaped(&text, error.text, strnlen(error.text, 60));
        return DGO_TRACE_BAD;
    }
    if (json_is_object(whole))
        verdict = read_object(&reading, whole, take, data);
    else
        reading.problem = "it is no JSON object";
    if (verdict == DGO_TRACE_BAD)
        dgo_text_add(&text, reading.problem ? reading.problem : "its lengths are impossible");
    json_decref(whole);
    return verdict;
}
