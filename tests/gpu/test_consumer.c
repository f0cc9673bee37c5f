/* test_consumer.c - who the processes are: roles, containers, owners, commands without their
 * secrets. */
#include "rig.h"

#include "consumer.h"
#include "dgo_units.h"

static void test_commands(void **state)
{
    static const struct {
        const char *name, *bytes;
        size_t length;
        const char *want;
    } cases[] = {
#define ROW(name, bytes, want) {name, bytes, sizeof(bytes), want}
        ROW("plain", "llama-server\0-m\0x.gguf", "llama-server -m x.gguf"),
        ROW("a key behind its option",
            "s\0--api-key\0abc\0--port\0"
            "1",
            "s --api-key *** --port 1"),
        ROW("a key behind a sign", "s\0--api-key=abc\0-v", "s --api-key=*** -v"),
        ROW("a variable", "env\0HF_TOKEN=abc\0s", "env HF_TOKEN=*** s"),
        ROW("capitals", "s\0--API_KEY\0abc", "s --API_KEY ***"),
        ROW("tokens are no secret",
            "s\0--max-tokens\0"
            "100\0--keep-alive\0"
            "5",
            "s --max-tokens 100 --keep-alive 5"),
        ROW("a password in an address", "s\0--db\0https://me:pass@host:1/x",
            "s --db https://me:***@host:1/x"),
        ROW("an address without", "s\0http://host:80/a@b", "s http://host:80/a@b"),
        ROW("a key known by its beginning", "s\0sk-abcdefghijklmnop", "s ***"),
        ROW("a header", "curl\0-H\0Authorization: Bearer abc", "curl -H Authorization: ***"),
        ROW("what drives a terminal", "s\0\x1b[2J", "s \\x1b[2J"),
        ROW("secret of an option before another", "s\0--token", "s --token"),
#undef ROW
        {"nothing", "", 0, ""},
        {"no end", "s\0--api-key\0abcdef", 14, "s --api-key ***"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[200], tiny[8];

        gpu_command_text(cases[i].bytes, cases[i].length, text, sizeof text);
        CHECK_ROW(strcmp(text, cases[i].want) == 0, cases[i].name);
        gpu_command_text(cases[i].bytes, cases[i].length, tiny, sizeof tiny);
        CHECK_ROW(strlen(tiny) < sizeof tiny, cases[i].name);
        CHECK_ROW(!strstr(text, "abc"), cases[i].name);
    }
}

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_containers(void **state)
{
    static const struct {
        const char *name, *cgroup, *want;
    } cases[] = {
        {"docker, second version", "0::/system.slice/docker-" ID ".scope\n", "docker 0123456789ab"},
        {"docker, first version", "12:memory:/docker/" ID "\n0::/\n", "docker 0123456789ab"},
        {"podman", "0::/user.slice/user-1000.slice/libpod-" ID ".scope\n", "podman 0123456789ab"},
        {"kubernetes", "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" ID ".scope\n",
         "kubernetes 0123456789ab"},
        {"cri-o", "0::/kubepods.slice/crio-" ID ".scope\n", "cri-o 0123456789ab"},
        {"lxc", "0::/lxc.payload.web/system.slice\n", "lxc web"},
        {"nspawn", "0::/machine.slice/machine-box.scope\n", "nspawn box"},
        {"none", "0::/user.slice/user-1000.slice/session-2.scope\n", ""},
        {"too short an id", "0::/docker/0123456789abcdef\n", ""},
        {"nothing", "", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[48];

        gpu_container_name(cases[i].cgroup, text, sizeof text);
        CHECK_ROW(strcmp(text, cases[i].want) == 0, cases[i].name);
    }
}

static void test_roles(void **state)
{
    static const struct {
        const char *name, *command;
        enum dgo_process_role want;
    } cases[] = {
        {"llama-server", "", DGO_ROLE_ENGINE},
        {"ollama_llama_se", "", DGO_ROLE_ENGINE},
        {"python3", "python3 -m vllm.entrypoints.openai.api_server", DGO_ROLE_ENGINE},
        {"python3", "python3 backup.py", DGO_ROLE_OTHER},
        {"Xorg", "", DGO_ROLE_DESKTOP},
        {"kwin_wayland", "", DGO_ROLE_DESKTOP},
        {"gnome-shell", "", DGO_ROLE_DESKTOP},
        {"firefox", "", DGO_ROLE_BROWSER},
        {"Isolated Web Co", "", DGO_ROLE_BROWSER},
        {"thing", "thing --type=gpu-process", DGO_ROLE_BROWSER},
        {"blender", "", DGO_ROLE_OTHER},
        {"", "", DGO_ROLE_OTHER},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK_ROW_U64(dgo_process_role_of(cases[i].name, cases[i].command), cases[i].want,
                      cases[i].name);
}

static void write_process(unsigned pid, const char *name, unsigned parent, unsigned ticks)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    rig_write(path, "%u (%s) S %u 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %u 0 0\n", pid, name, parent,
              ticks);
    snprintf(path, sizeof path, "/proc/%u/status", pid);
    rig_write(path, "Name:\t%s\nUmask:\t0022\nUid:\t1000\t1000\t1000\t1000\n", name);
    snprintf(path, sizeof path, "/proc/%u/cmdline", pid);
    rig_write(path, "%s -m model", name);
    snprintf(path, sizeof path, "/proc/%u/cgroup", pid);
    rig_write(path, "0::/docker/" ID "\n");
}

static void test_facts_of_processes(void **state)
{
    const struct dgo_gpu_options options = rig_options();
    const struct dgo_gpu_process *process = rig.gpu[0].process;
    struct dgo_gpu_source *source = NULL;

    (void)state;
    rig_write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nme:x:1000:1000:Me:/home/me:/bin/sh\n");
    write_process(100, "llama-server", 1, 777);
    write_process(200, "odd (name)) R 9", 50, 778);
    write_process(50, "dualgpuopt", 1, 5);
    rig_scenario("card A\n memory 24576 450 1000\n process compute 100 900\n"
                 " process graphics 200 50\n process compute 300 10\n");
    assert_int_equal(dgo_gpu_open(&options, &source, NULL), DGO_OK);
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_int_equal(rig.gpu[0].process_count, 3);
    assert_string_equal(process[0].name, "llama-server");
    assert_string_equal(process[0].owner, "me");
    assert_string_equal(process[0].container, "docker 0123456789ab");
    assert_string_equal(process[0].command, "llama-server -m model");
    assert_int_equal(process[0].start_ticks, 777);
    assert_int_equal(process[0].role, DGO_ROLE_ENGINE);
    assert_string_equal(process[1].name, "odd (name)) R 9");
    assert_int_equal(process[1].role, DGO_ROLE_OURS);
    assert_string_equal(process[2].name, ""); /* of another namespace */
    assert_int_equal(process[2].start_ticks, 0);
    /* The pid becomes another process. */
    write_process(100, "Xorg", 1, 999);
    assert_int_equal(dgo_gpu_take_tiers(source, DGO_TIER_BIT(DGO_TIER_FAST), &rig, NULL), DGO_OK);
    assert_string_equal(process[0].name, "llama-server"); /* asked with the lists */
    assert_int_equal(dgo_gpu_take(source, &rig, NULL), DGO_OK);
    assert_string_equal(process[0].name, "Xorg");
    assert_int_equal(process[0].role, DGO_ROLE_DESKTOP);
    assert_int_equal(process[0].start_ticks, 999);
    dgo_gpu_close(source);
}

#define RIG_TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_containers),
        cmocka_unit_test(test_roles),
        RIG_TEST(test_facts_of_processes),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
