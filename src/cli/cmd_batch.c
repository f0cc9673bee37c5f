/* cmd_batch.c - `dualgpuopt batch FILE`: how long requests are, and what follows for the engine. */
#include "batch.h"
#include "cmd.h"
#include "print.h"

static int run(const struct cmd_call *call)
{
    static struct requests requests;
    static struct batch_report report;
    const struct requests_question question = {
        .paths = call->args,
        .path_count = call->arg_count,
        .columns = option_text(&call->options, OPTION_COLUMNS),
    };
    const struct batch_question wanted = {
        .capacity_tokens = (uint32_t)option_number(&call->options, OPTION_CAPACITY),
    };
    struct dgo_error err = {0};
    int status = 0;

    if (requests_read(&question, &requests, &err) != DGO_OK)
        return print_failure(&err);
    if (batch_analyse(&requests, &wanted, &report, &err) != DGO_OK) {
        status = print_failure(&err);
    } else {
        if (option_given(&call->options, OPTION_JSON))
            status = print_json(view_batch(&report));
        else
            print_batch(&report);
        if (requests.bad_lines > 0 && option_given(&call->options, OPTION_JSON))
            print_message("%llu of %llu lines could not be read and were skipped",
                          (unsigned long long)requests.bad_lines,
                          (unsigned long long)requests.lines);
    }
    batch_done(&report);
    requests_done(&requests);
    return status;
}

const struct cmd cmd_batch = {
    .name = "batch",
    .does = "analyse a file of requests: token lengths, buckets, packing, batch advice",
    .usage = "FILE... [options]",
    .examples = "dualgpuopt batch requests.jsonl\n"
                "dualgpuopt batch trace.csv --columns ContextTokens,GeneratedTokens\n"
                "dualgpuopt batch prompts.txt --capacity 8192 --json",
    .details =
        "FILE is a CSV of lengths with a header line, JSON lines (chat or completion requests,\n"
        "OpenAI batch files, lengths), or text with a prompt a line; - is standard input. Lines\n"
        "that cannot be read are counted, named and skipped.",
    .arg_min = 1,
    .arg_max = 64,
    .options = {OPTION_COLUMNS, OPTION_CAPACITY, OPTION_JSON, OPTION_VERBOSE, OPTION_HELP},
    .run = run,
};
