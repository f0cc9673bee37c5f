/* flow_export.c - a flow's plan in the words of other tools. */
#include "flow.h"

#include "dgo_app.h"
#include "export_formats.h"
#include "dgo_file.h"
#include "dgo_text.h"

struct work {
    const struct dgo_export *format;
    struct dgo_export_question question;
    struct dgo_text *text;
    const char *path;
    struct dgo_error *err;
};

static enum dgo_status job(void *data)
{
    const struct work *work = data;
    enum dgo_status status = dgo_export_write(work->format, &work->question, work->text, work->err);

    if (status == DGO_OK && work->path)
        status = dgo_file_save(work->path, work->text->data, work->text->length, work->err);
    return status;
}

enum dgo_status flow_export(const struct flow *flow, const struct dgo_export *format,
                            const char *name, const char *program, const char *path,
                            struct dgo_text *text, struct dgo_error *err)
{
    struct work work = {format, {.name = name, .program = program}, text, path, err};

    if (flow) {
        work.question.engine = flow->engine;
        work.question.machine = &flow->machine;
        work.question.model = flow->model;
        work.question.plan = &flow->plan;
        work.question.command = &flow->command;
        work.question.host = option_text(flow->options, OPTION_HOST);
        work.question.port = flow_shown_port(flow);
    }
    return app_run(COMPONENT_EXPORT, job, &work);
}
