/* A user's llama-server flags to settings. */
#include "engine_check.h"

static struct dgo_machine machine;
static struct dgo_model model;
static struct dgo_flags read; /* by the last read_text */
static char *const *environment;

static enum dgo_status read_text(const char *flags, uint32_t build, struct dgo_settings *settings,
                                 struct dgo_error *err)
{
    const struct dgo_engine_rules rules = {.build = build};
    struct dgo_arena arena = {0};
    const char *words[64];
    uint32_t count = 0;
    enum dgo_status status;

    assert_int_equal(dgo_words_split(flags, &arena, &count, words, 64, NULL), DGO_OK);
    status = dgo_engine_find("llama.cpp")
                 ->read_flags(&(struct dgo_flag_source){.machine = &machine,
                                                        .model = &model,
                                                        .rules = &rules,
                                                        .args = words,
                                                        .arg_count = count,
                                                        .environment = environment},
                              &read, err);
    if (status == DGO_OK)
        *settings = read.settings;
    dgo_arena_done(&arena);
    return status;
}

/* All settings in one line, in the order of the struct. */
static void describe(const struct dgo_settings *s, struct dgo_text *text)
{
    dgo_text_addf(text, "c%u np%u%s b%u ub%u %s/%s%s ngl%u%s dev", (unsigned)s->ctx_tokens,
                  (unsigned)s->slot_count, s->kv_unified ? " kvu" : "", (unsigned)s->batch_tokens,
                  (unsigned)s->ubatch_tokens, dgo_kv_type_name(s->key_type),
                  dgo_kv_type_name(s->value_type), s->flash_attention == DGO_FA_ON ? "" : " fa-off",
                  (unsigned)s->gpu_layer_count,
                  s->split_mode == DGO_SPLIT_NONE     ? " one"
                  : s->split_mode == DGO_SPLIT_TENSOR ? " cut"
                                                      : "");
    for (uint32_t d = 0; d < s->device_count; d++)
        dgo_text_addf(text, "%s%u", d ? "," : "", (unsigned)s->device_gpu[d]);
    if (s->tensor_split_given)
        for (uint32_t d = 0; d < 3; d++)
            dgo_text_addf(text, "%s%g", d ? "," : " ts", (double)s->tensor_split[d]);
    dgo_text_addf(text, "%s%s%s", s->kv_on_host ? " nkvo" : "", s->swa_full ? " swa-full" : "",
                  s->op_offload ? "" : " no-op-offload");
    if (s->cpu_moe_layer_count)
        dgo_text_addf(text, " ncmoe%u", (unsigned)s->cpu_moe_layer_count);
}

#define START   "c8192 np4 kvu b2048 ub512 f16/f16"
#define DEFAULT START " ngl33 dev0,1"

static void test_read(void **state)
{
    static const struct {
        const char *name, *flags;
        uint32_t build;
        const char *want;
    } rows[] = {
        {"defaults", "", 0, DEFAULT},
        {"defaults before automatic slots", "", 6500, "c8192 np1 b2048 ub512 f16/f16 ngl33 dev0,1"},
        {"pasted command", "/usr/bin/llama-server -m x.gguf -c 4096", 0,
         "c4096 np4 kvu b2048 ub512 f16/f16 ngl33 dev0,1"},
        {"variables before the program",
         "LLAMA_ARG_CTX_SIZE=4096 LLAMA_ARG_KV_OFFLOAD=0 OTHER=1 llama-server", 0,
         "c4096 np4 kvu b2048 ub512 f16/f16 ngl33 dev0,1 nkvo"},
        {"a flag goes before its variable", "LLAMA_ARG_CTX_SIZE=4096 -c 2048", 0,
         "c2048 np4 kvu b2048 ub512 f16/f16 ngl33 dev0,1"},
        {"the older form of a no", "LLAMA_ARG_NO_KV_OFFLOAD=1 -c 4096", 0,
         "c4096 np4 kvu b2048 ub512 f16/f16 ngl33 dev0,1 nkvo"},
        {"cards in another order", "CUDA_VISIBLE_DEVICES=1,0 llama-server -c 4096", 0,
         "c4096 np4 kvu b2048 ub512 f16/f16 ngl33 dev1,0"},
        {"named as the engine sees them", "CUDA_VISIBLE_DEVICES=1,0 -c 4096 -dev CUDA0", 0,
         "c4096 np4 kvu b2048 ub512 f16/f16 ngl33 dev1"},
        {"context", "-c 4096", 0, "c4096 np4 kvu b2048 ub512 f16/f16 ngl33 dev0,1"},
        {"long", "--ctx-size 4096", 0, "c4096 np4 kvu b2048 ub512 f16/f16 ngl33 dev0,1"},
        {"underscores", "--ctx_size 4096", 0, "c4096 np4 kvu b2048 ub512 f16/f16 ngl33 dev0,1"},
        {"the last one counts", "-c 1 -c 4096", 0,
         "c4096 np4 kvu b2048 ub512 f16/f16 ngl33 dev0,1"},
        {"the model's own context", "-c 0", 0, DEFAULT},
        {"slots", "-np 2", 0, "c8192 np2 b2048 ub512 f16/f16 ngl33 dev0,1"},
        {"automatic slots", "--parallel -1", 0, DEFAULT},
        {"slots in one cache", "-np 2 -kvu", 0, "c8192 np2 kvu b2048 ub512 f16/f16 ngl33 dev0,1"},
        {"automatic slots stay in one cache", "--no-kv-unified", 0, DEFAULT},
        {"four slots apart", "-np 4 --no-kv-unified", 0,
         "c8192 np4 b2048 ub512 f16/f16 ngl33 dev0,1"},
        {"automatic slots by any number below zero", "-np -2", 0, DEFAULT},
        {"a negative micro-batch is the batch", "-ub -1", 0,
         "c8192 np4 kvu b2048 ub2147483647 f16/f16 ngl33 dev0,1"},
        {"batches", "-b 1024 -ub 256", 0, "c8192 np4 kvu b1024 ub256 f16/f16 ngl33 dev0,1"},
        {"micro-batch 0 is the batch", "-b 1024 -ub 0", 0,
         "c8192 np4 kvu b1024 ub1024 f16/f16 ngl33 dev0,1"},
        {"cache types", "-ctk q8_0 --cache-type-v iq4_nl", 0,
         "c8192 np4 kvu b2048 ub512 q8_0/iq4_nl ngl33 dev0,1"},
        {"flash attention off", "-fa off", 0, START " fa-off ngl33 dev0,1"},
        {"flash attention auto", "--flash-attn auto", 0, DEFAULT},
        {"flash attention as a number", "-fa 0", 0, START " fa-off ngl33 dev0,1"},
        {"flash attention without a value", "-fa -c 8192", 6200,
         "c8192 np1 b2048 ub512 f16/f16 ngl33 dev0,1"},
        {"no layers", "-ngl 0", 0, START " ngl0 dev0,1"},
        {"some layers", "--n-gpu-layers 20", 0, START " ngl20 dev0,1"},
        {"more layers than there are", "-ngl 999", 0, DEFAULT},
        {"all layers", "-ngl all", 0, DEFAULT},
        {"automatic layers", "-ngl auto", 0, DEFAULT},
        {"layers -1", "-ngl -1", 0, DEFAULT},
        {"layers -7", "-ngl -7", 0, DEFAULT},
        {"shares", "-ts 3,1", 0, DEFAULT " ts3,1,0"},
        {"shares with slashes", "--tensor-split 3/1", 0, DEFAULT " ts3,1,0"},
        {"shares with a run of commas", "-ts 3,,1/2,", 0, DEFAULT " ts3,1,2"},
        {"fractions", "-ts 0.5,1e1", 0, DEFAULT " ts0.5,10,0"},
        {"devices in another order", "-dev CUDA1,CUDA0", 0, START " ngl33 dev1,0"},
        {"device in small letters", "--device cuda1", 0, START " ngl33 dev1"},
        {"no device", "-dev none", 0, START " ngl0 dev"},
        {"one card", "-sm none", 0, START " ngl33 one dev0"},
        {"one card by number", "-sm none -mg 1", 0, START " ngl33 one dev1"},
        {"one card by number of the list", "-mg 0 -sm none -dev CUDA1,CUDA0", 0,
         START " ngl33 one dev1"},
        {"one card, none", "-sm none -mg -1", 0, START " ngl0 one dev"},
        {"-mg alone moves nothing", "-mg 1", 0, DEFAULT},
        {"every layer on every card", "-sm tensor -ts 6,2", 0, START " ngl33 cut dev0,1 ts6,2,0"},
        {"cache on the host", "-nkvo", 0, DEFAULT " nkvo"},
        {"cache back on the cards", "-nkvo -kvo", 0, DEFAULT},
        {"whole context in window layers", "--swa-full", 0, DEFAULT " swa-full"},
        {"no transfers", "--no-op-offload", 0, DEFAULT " no-op-offload"},
        {"experts of some layers", "-ncmoe 5", 0, DEFAULT " ncmoe5"},
        {"experts of more layers and of fewer", "-ncmoe 5 -ncmoe 3", 0, DEFAULT " ncmoe5"},
        {"experts of all layers", "-cmoe", 0, DEFAULT " ncmoe32"},
        {"more experts' layers than there are", "--n-cpu-moe 99", 0, DEFAULT " ncmoe32"},
        {"flags without memory", "-t 8 --port 1 --jinja --no-warmup -fit off -fitt 512 --temp 0.7",
         0, DEFAULT},
        {"flags of older builds", "--no-mmap --mlock --draft-max 5 -np 4 -kvu", 6500, DEFAULT},
        {"two values", "--control-vector-layer-range 1 2 -c 4096", 0,
         "c4096 np4 kvu b2048 ub512 f16/f16 ngl33 dev0,1"},
        {"n-grams need no memory", "--spec-type ngram-mod", 0, DEFAULT},
        {"a variable of a server that embeds nothing", "LLAMA_ARG_EMBEDDINGS=0", 0, DEFAULT},
        {"fifteen shares", "-ts 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", 0, DEFAULT " ts1,1,1"},
        {"zeros ask for nothing", "-ncffn 0 --moe-cache-mib 0", 0, DEFAULT},
        {"a value that looks like a flag", "--alias -c", 0, DEFAULT},
        {"context of a slot", "--kv-unified-per-slot 4096", 0,
         "c16384 np4 kvu b2048 ub512 f16/f16 ngl33 dev0,1"},
        {"context of a slot beside the whole", "--kv-unified-per-slot 4096 -c 8192 -np 2", 0,
         "c8192 np2 b2048 ub512 f16/f16 ngl33 dev0,1"},
        {"as much as there can be", "-b -1 -ub -1 -np 1 -c 4096", 0,
         "c4096 np1 b2147483647 ub2147483647 f16/f16 ngl33 dev0,1"},
        {"an embedding server's batch", "--embedding -ub 256", 0,
         "c8192 np4 kvu b256 ub256 f16/f16 ngl33 dev0,1"},
        {"a pooling alone", "LLAMA_ARG_POOLING=mean", 0, DEFAULT},
        {"flags of a router", "--models-dir /tmp --models-max 2", 0, DEFAULT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_settings settings;
        struct dgo_error err = {0};
        char got[512];
        struct dgo_text text = DGO_TEXT(got);

        if (read_text(rows[i].flags, rows[i].build, &settings, &err) != DGO_OK)
            fail_msg("row \"%s\": %s", rows[i].name, err.text);
        describe(&settings, &text);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("row \"%s\":\n got %s\nwant %s", rows[i].name, got, rows[i].want);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *name, *flags;
        enum dgo_status status;
        const char *says;
    } rows[] = {
        {"misspelt", "--ctx-sizo 4096", DGO_EUSAGE, "did you mean --ctx-size?"},
        {"unknown", "--brand-new-flag", DGO_EUSAGE, "leave it out if"},
        {"not a flag", "hello", DGO_EUSAGE, "'hello' is no flag"},
        {"one word", "--ctx-size=4096", DGO_EUSAGE, "as two words"},
        {"value missing", "-b 1 -c", DGO_EUSAGE, "-c needs a value"},
        {"second value missing", "--control-vector-layer-range 1", DGO_EUSAGE, "needs a value"},
        {"no number", "-c many", DGO_EUSAGE, "-c takes a number from 0 to 2147483647, not 'many'"},
        {"number and more", "-c 12k", DGO_EUSAGE, "not '12k': the engine would read 12"},
        {"number too big", "-c 99999999999", DGO_EUSAGE, "takes a number"},
        {"number far too big", "-c 99999999999999999999999", DGO_EUSAGE, "takes a number"},
        {"negative", "-c -1", DGO_EUSAGE, "takes a number"},
        {"negative batch of several slots", "-b -1", DGO_EUSAGE, "-b -1: the engine ends"},
        {"an embedding server without a micro-batch", "--embedding -ub 0", DGO_EUSAGE, "-ub with"},
        {"an embedding server of few tokens", "--embedding -b -1 -ub 1", DGO_EUSAGE,
         "fewer than 4"},
        {"no kind of pooling", "--pooling max", DGO_EUSAGE, "none, mean, cls"},
        {"less than it tries", "-b 1 -np 1", DGO_EUSAGE, "-b 1: the engine ends"},
        {"less than its slots", "-b 39 -np 40", DGO_EUSAGE, "fewer than 40 tokens"},
        {"one token", "-c 1 -np 1", DGO_EUSAGE, "-c 1: the engine ends"},
        {"no yes or no", "LLAMA_ARG_KV_OFFLOAD=no", DGO_EUSAGE, "takes on or off"},
        {"gone: a count", "--draft-max 5", DGO_EUSAGE, "use --spec-draft-n-max"},
        {"gone: a count as a variable", "LLAMA_ARG_DRAFT_MAX=5", DGO_EUSAGE, "is gone"},
        {"gone: a way of loading", "--no-mmap", DGO_EUSAGE, "use --load-mode"},
        {"gone: another word", "--simple-io", DGO_EUSAGE, "leave it out"},
        {"no slot", "-np 0", DGO_EUSAGE, "-np takes 1 or more"},
        {"too many slots", "-np 257", DGO_EUSAGE, "takes a number"},
        {"batch 0", "-b 0", DGO_EUSAGE, "-b takes 1 or more"},
        {"cache type in large letters", "-ctk Q8_0", DGO_EUSAGE, "not 'Q8_0'"},
        {"cache type", "-ctk q9_9", DGO_EUSAGE, "not 'q9_9'"},
        {"flash attention", "-fa -ngl", DGO_EUSAGE, "-fa takes on, off or auto, not '-ngl'"},
        {"layers", "-ngl many", DGO_EUSAGE, "takes a number"},
        {"split mode", "-sm rows", DGO_EUSAGE, "none, layer, row or tensor"},
        {"rows", "-sm row", DGO_EINVAL, "-sm row: the engine refuses it"},
        {"shares, a word", "-ts a,b", DGO_EUSAGE, "shares like 3,1"},
        {"shares, nothing", "-ts ''", DGO_EUSAGE, "shares like 3,1"},
        {"shares, comma first", "-ts ,1", DGO_EUSAGE, "shares like 3,1"},
        {"shares, negative", "-ts 1,-1", DGO_EUSAGE, "shares like 3,1"},
        {"shares, no number", "-ts nan,1", DGO_EUSAGE, "shares like 3,1"},
        {"too many shares", "-ts 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", DGO_EUSAGE, "at most 15"},
        {"no such device", "-dev CUDA7", DGO_EUSAGE, "this machine has CUDA0, CUDA1"},
        {"empty device", "-dev CUDA0,", DGO_EUSAGE, "names ''"},
        {"device twice", "-dev CUDA0,CUDA0", DGO_EUSAGE, "twice"},
        {"main GPU", "-sm none -mg 2", DGO_EUSAGE, "sees 2 devices"},
        {"a buffer that is not there", "-ot exps=CUDA7", DGO_EUSAGE, "CUDA7"},
        {"a buffer in small letters", "-ot exps=cuda0", DGO_EUSAGE, "CPU, CUDA0, CUDA1"},
        {"pinned memory", "-ot exps=CUDA_Host", DGO_EUSAGE, "CPU, CUDA0, CUDA1"},
        {"the first sign parts", "-ot a=b=CPU", DGO_EUSAGE, "'b=CPU'"},
        {"a pattern without a buffer", "-ot exps", DGO_EUSAGE, "PATTERN=BUFFER"},
        {"a draft's pattern without one", "-otd exps", DGO_EUSAGE, "PATTERN=BUFFER"},
        {"an adapter without a scale", "--lora-scaled a.gguf", DGO_EUSAGE, "FILE:SCALE"},
        {"an adapter with a word for it", "--lora-scaled a.gguf:x", DGO_EUSAGE, "FILE:SCALE"},
        {"an empty adapter", "--lora a.gguf,", DGO_EUSAGE, "FILE,FILE"},
        {"no kind of draft", "--spec-type draft-eagle", DGO_EUSAGE, "kinds"},
        {"remote", "--rpc h:1", DGO_EUSAGE, "--node h:1=FILE"},
        {"metadata", "--override-kv a=int:1", DGO_EUNSUPPORTED, "as its file says"},
        {"another model", "-hf a/b", DGO_EUNSUPPORTED, "before the flags"},
        {"preset of another model", "--gpt-oss-20b-default", DGO_EUNSUPPORTED, "before the flags"},
        {"escape sequence", "'\033[31m'", DGO_EUSAGE, "x1b[31m"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_settings settings = {.ctx_tokens = 77};
        struct dgo_error err = {0};

        CHECK_ROW(read_text(rows[i].flags, 0, &settings, &err) == rows[i].status, rows[i].name);
        if (!strcasestr(err.text, rows[i].says))
            fail_msg("row \"%s\": says \"%s\"", rows[i].name, err.text);
        CHECK_ROW_U64(settings.ctx_tokens, 77, rows[i].name);
    }
}

static void test_beside(void **state)
{
    struct dgo_settings settings;
    struct dgo_error err = {0};
    char variable[] = "LLAMA_ARG_N_PARALLEL=3", *const variables[] = {variable, NULL};

    (void)state;
    assert_int_equal(
        read_text("-ot 'blk\\.\\d+\\.ffn=CPU,exps=CUDA1' -md d.gguf -devd CUDA1 -np 2 -mmdev none "
                  "--spec-type draft-simple",
                  0, &settings, &err),
        DGO_OK);
    assert_int_equal(settings.override_count, 2);
    assert_string_equal(read.override[0].pattern, "blk\\.\\d+\\.ffn");
    assert_int_equal(read.override[0].device, DGO_OVERRIDE_HOST);
    assert_int_equal(read.override[1].device, 1);
    assert_int_equal(read.draft.device_count, 1);
    assert_int_equal(read.draft.output_row_count, 2);
    assert_int_equal(settings.output_row_count, 2 * (1 + 3)); /* a row for each guess, and one */
    assert_int_equal(read.projector_gpu, -1);
    assert_false(read.fit); /* tensors are placed by hand */

    assert_int_equal(read_text("--mmproj p.gguf --image-max-tokens 700", 0, &settings, &err),
                     DGO_OK);
    assert_int_equal(read.picture_tokens, 700);
    assert_int_equal(read_text("--mmproj p.gguf --image-max-tokens -1", 0, &settings, &err),
                     DGO_OK);
    assert_int_equal(read.picture_tokens, 0);
    assert_int_equal(read_text("--image-max-tokens many", 0, &settings, &err), DGO_EUSAGE);

    assert_int_equal(read_text("-ot a=CUDA0 -sm none -mg 1 -ncffn 99", 0, &settings, &err), DGO_OK);
    assert_int_equal(settings.override_count, 1 + 32);
    assert_int_equal(read.override[0].device, DGO_OVERRIDE_UNUSED);
    assert_int_equal(read_text("-md d.gguf -otd =CPU,b=CUDA1 -devd CUDA1", 0, &settings, &err),
                     DGO_OK);
    assert_int_equal(settings.override_count, 0);
    assert_int_equal(read.draft.override_count, 2);
    assert_string_equal(read.draft.override[0].pattern, "");
    assert_int_equal(read.draft.override[1].device, 0); /* of its one device */
    assert_int_equal(
        read_text("--lora a.gguf,b.gguf --lora-scaled c.gguf:0.5,d.gguf:-1", 0, &settings, &err),
        DGO_OK);
    assert_int_equal(read.adapter_count, 4);
    assert_string_equal(read.adapter[1], "b.gguf");
    assert_string_equal(read.adapter[2], "c.gguf");
    assert_int_equal(read_text("-ngl all", 0, &settings, &err), DGO_OK);
    assert_false(read.fit); /* all of them were asked for */

    environment = variables;
    assert_int_equal(read_text("-c 4096 -fitt 512", 0, &settings, &err), DGO_OK);
    environment = NULL;
    assert_int_equal(settings.slot_count, 3);
    assert_true(read.fit);
    assert_int_equal(read.fit_margin_bytes, 512 << 20);
}

/* Rows of logits for two slots, and states to go back to. */
static void test_guesses(void **state)
{
    static const struct {
        const char *name, *flags;
        uint32_t rows, kept;
        bool own;
    } rows[] = {
        {"none", "", 0, 0, false},
        {"none by name", "-md d.gguf --spec-type none", 0, 0, false},
        {"a draft model that does nothing", "-md d.gguf", 0, 0, false},
        {"of a kind", "-md d.gguf --spec-type draft-simple --spec-draft-n-max 5", 2 * 6, 0, false},
        {"the model's own block", "--spec-type draft-mtp", 2 * 4, 3, true},
        {"more tokens", "--spec-type draft-mtp --spec-draft-n-max 9", 2 * 10, 9, true},
        {"no tokens", "--spec-type draft-mtp --spec-draft-n-max 0", 0, 0, true},
        {"a block of another file", "-md d.gguf --spec-type draft-mtp", 2 * 4, 3, false},
        {"two lists", "--spec-type draft-mtp --spec-type ngram-cache", 2 * 9, 3, true},
        {"a list and none", "--spec-type draft-mtp --spec-type none", 2 * 4, 3, true},
        {"the default beside a list", "--spec-type draft-mtp --spec-default", 2 * 65, 3, true},
        {"none in a list", "--spec-type draft-mtp,none", 0, 0, false},
        {"words again", "--spec-type ngram-simple", 2 * 49, 0, false},
        {"fewer of them", "--spec-type ngram-simple --spec-ngram-simple-size-m 7", 2 * 8, 0, false},
        {"a map", "--spec-type ngram-map-k4v --spec-ngram-map-k-size-m 7", 2 * 49, 0, false},
        {"a cache", "--spec-type ngram-cache", 2 * 9, 0, false},
        {"the default", "--spec-default", 2 * 65, 0, false},
        {"the most counts", "--spec-type draft-mtp,ngram-mod --spec-ngram-mod-n-max 2", 2 * 4, 3,
         true},
        {"the batch is the most", "--spec-type ngram-mod -b 100", 100, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dgo_settings settings;
        struct dgo_error err = {0};
        char text[256];

        snprintf(text, sizeof text, "-np 2 %s", rows[i].flags);
        CHECK_ROW(read_text(text, 0, &settings, &err) == DGO_OK, rows[i].name);
        CHECK_ROW_U64(settings.output_row_count, rows[i].rows, rows[i].name);
        CHECK_ROW_U64(settings.rollback_tokens, rows[i].kept, rows[i].name);
        CHECK_ROW_U64(settings.own_draft, rows[i].own, rows[i].name);
    }
    struct dgo_settings settings;

    assert_int_equal(
        read_text("--spec-type draft-mtp -ctkd q8_0 --spec-draft-n-ubatch 64", 0, &settings, NULL),
        DGO_OK);
    assert_int_equal(settings.key_type, DGO_KV_F16);
    assert_int_equal(settings.draft_key_type, DGO_KV_Q8_0);
    assert_int_equal(settings.draft_ubatch_tokens, 64);
}

static void test_other_worlds(void **state)
{
    struct dgo_settings settings;
    struct dgo_error err = {0};

    (void)state;
    model.context_length = 0;
    assert_int_equal(read_text("", 0, &settings, &err), DGO_EUSAGE);
    assert_non_null(strstr(err.text, "-c"));
    model.context_length = 8192;
    model.mtp_layer_count = 1;
    assert_int_equal(read_text("", 0, &settings, NULL), DGO_OK);
    assert_int_equal(settings.gpu_layer_count, 34);
    model.mtp_layer_count = 0;
    machine.gpu[0].vendor = DGO_VENDOR_AMD;
    assert_int_equal(read_text("-dev CUDA0,ROCm0", 0, &settings, NULL), DGO_OK);
    assert_int_equal(settings.device_gpu[0], 1);
    assert_int_equal(settings.device_gpu[1], 0);
    machine.gpu[0].vendor = DGO_VENDOR_NVIDIA;
    machine.gpu_count = 0;
    assert_int_equal(read_text("-ngl 99", 0, &settings, NULL), DGO_OK);
    assert_int_equal(settings.device_count, 0);
    assert_int_equal(settings.gpu_layer_count, 0);
    assert_int_equal(read_text("-dev CUDA0", 0, &settings, &err), DGO_EUSAGE);
    assert_non_null(strstr(err.text, "no GPU"));
    machine.gpu_count = 2;
}

/* Every flag that the recorded binary knows is in our table. */
static void test_table_is_whole(void **state)
{
    static struct dgo_probe probe;
    char *help = engine_data("help_11669.txt");

    (void)state;
    dgo_engine_find("llama.cpp")->read_probe(&probe, "", help);
    assert_int_equal(probe.flag_count, 415);
    for (uint32_t i = 0; i < probe.flag_count; i++) {
        const char *words[] = {probe.flag[i], "1", "1"};
        struct dgo_error err = {0};

        (void)!dgo_engine_find("llama.cpp")
            ->read_flags(
                &(struct dgo_flag_source){
                    .machine = &machine, .model = &model, .args = words, .arg_count = 3},
                &read, &err);
        /* '1' may be no value of that flag, but the flag itself is known */
        if (strstr(err.text, "is known here") && !strstr(err.text, "'1'"))
            fail_msg("%s", err.text);
    }
    free(help);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),         cmocka_unit_test(test_refused),
        cmocka_unit_test(test_beside),       cmocka_unit_test(test_guesses),
        cmocka_unit_test(test_other_worlds), cmocka_unit_test(test_table_is_whole),
    };
    static struct dgo_plan plan;

    engine_example(&machine, &model, &plan);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
