/* view_explain.c - why a plan and its command are what they are, as lines of JSON. */
#include "dgo_engine.h"
#include "view.h"

static void append_line(const char *line, void *lines)
{
    json_array_append_new(lines, view_text(line));
}

void view_explain(json_t *object, const struct dgo_machine *machine, const struct dgo_model *model,
                  const struct dgo_plan *plan, const struct dgo_command *command)
{
    json_t *lines = json_array();

    dgo_engine_explain(machine, model, plan, append_line, lines);
    json_object_set_new(object, "explanation", lines);
    if (!command)
        return;
    lines = json_array();
    dgo_command_explain(command, append_line, lines);
    json_object_set_new(object, "command_explanation", lines);
}
