/* export.h - what the export files share; private to src/engine. */
#ifndef ENGINE_EXPORT_H
#define ENGINE_EXPORT_H

#include "export_formats.h"

#define EXPORT(name)                                                                               \
    enum dgo_status name(const struct dgo_export_question *question, struct dgo_text *text,        \
                         struct dgo_error *err)

EXPORT(export_systemd);
EXPORT(export_systemd_daemon);
EXPORT(export_env);
EXPORT(export_sh);
EXPORT(export_compose);
EXPORT(export_llama_swap);
EXPORT(export_llama_preset);
EXPORT(export_modelfile);
EXPORT(export_vllm);
EXPORT(export_tabbyapi);
EXPORT(export_accelerate);
EXPORT(export_rpc);
EXPORT(export_ray);
EXPORT(export_native);
EXPORT(export_k8s);

/* A string of YAML and JSON alike, in double quotes. */
void export_quoted(struct dgo_text *text, const char *value);

/* "# SIMULATED ..." or "# recorded ..." where the cards come from a file, and who wrote the file.
 */
void export_head(const struct dgo_export_question *question, struct dgo_text *text,
                 const char *comment);

/* The value of the flag in the command, or NULL. */
const char *export_value(const struct dgo_command *command, const char *flag);

/* What the command sets the variable to; "" where it does not. */
const char *export_variable(const struct dgo_command *command, const char *name);

/* Nodes whose cards the plan uses, this machine first; returns how many. */
uint32_t export_nodes(const struct dgo_export_question *question, uint32_t nodes[DGO_NODE_MAX]);
/* Cards of the plan on that node, in the plan's order, as its own driver counts: "0,1". */
void export_node_cards(const struct dgo_export_question *question, uint32_t node,
                       struct dgo_text *list);
/* The same where those cards alone are seen, numbered anew in the order of the bus, as in a
 * container. */
void export_card_order(const struct dgo_export_question *question, uint32_t node,
                       struct dgo_text *list);
uint32_t export_node_card_count(const struct dgo_export_question *question, uint32_t node);

#endif
