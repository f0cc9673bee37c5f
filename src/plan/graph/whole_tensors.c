/* whole_tensors.c - finds the file's tensors for a whole graph, and where each lies.
 *
 * A tensor that no node here uses means nodes that are not there: such a model is not built. */
#include "whole_parts.h"

#include <string.h>

static const char *const part_names[PART_COUNT] = {
    [ATTN_NORM] = "attn_norm.weight",
    [ATTN_NORM_BIAS] = "attn_norm.bias",
    [MIXER_NORM] = "attn_norm_2.weight",
    [MIXER_NORM_BIAS] = "attn_norm_2.bias",
    [ATTN_QKV] = "attn_qkv.weight",
    [ATTN_QKV_BIAS] = "attn_qkv.bias",
    [ATTN_Q] = "attn_q.weight",
    [ATTN_Q_BIAS] = "attn_q.bias",
    [ATTN_K] = "attn_k.weight",
    [ATTN_K_BIAS] = "attn_k.bias",
    [ATTN_V] = "attn_v.weight",
    [ATTN_V_BIAS] = "attn_v.bias",
    [ATTN_Q_NORM] = "attn_q_norm.weight",
    [ATTN_K_NORM] = "attn_k_norm.weight",
    [ATTN_SINKS] = "attn_sinks.weight",
    [LATENT_Q] = "attn_q_a.weight",
    [LATENT_Q_NORM] = "attn_q_a_norm.weight",
    [LATENT_Q_HEADS] = "attn_q_b.weight",
    [LATENT_KV] = "attn_kv_a_mqa.weight",
    [LATENT_KV_NORM] = "attn_kv_a_norm.weight",
    [LATENT_K_HEADS] = "attn_k_b.weight",
    [LATENT_V_HEADS] = "attn_v_b.weight",
    [LATENT_KV_HEADS] = "attn_kv_b.weight",
    [INDEX_KEY] = "indexer.attn_k.weight",
    [INDEX_KEY_NORM] = "indexer.k_norm.weight",
    [INDEX_KEY_NORM_BIAS] = "indexer.k_norm.bias",
    [INDEX_QUERIES] = "indexer.attn_q_b.weight",
    [INDEX_SHARES] = "indexer.proj.weight",
    [DELTA_GATE] = "attn_gate.weight",
    [SSM_IN] = "ssm_in.weight",
    [SSM_CONV] = "ssm_conv1d.weight",
    [SSM_CONV_BIAS] = "ssm_conv1d.bias",
    [SSM_DT] = "ssm_dt.bias",
    [SSM_A] = "ssm_a",
    [SSM_D] = "ssm_d",
    [SSM_X] = "ssm_x.weight",
    [SSM_STEPS] = "ssm_dt.weight",
    [SSM_STEPS_NORM] = "ssm_dt_norm.weight",
    [SSM_B_NORM] = "ssm_b_norm.weight",
    [SSM_C_NORM] = "ssm_c_norm.weight",
    [SSM_ALPHA] = "ssm_alpha.weight",
    [SSM_BETA] = "ssm_beta.weight",
    [SSM_BETA_ALPHA] = "ssm_ba.weight",
    [SSM_NORM] = "ssm_norm.weight",
    [SSM_OUT] = "ssm_out.weight",
    [SHORT_IN] = "shortconv.in_proj.weight",
    [SHORT_CONV] = "shortconv.conv.weight",
    [SHORT_OUT] = "shortconv.out_proj.weight",
    [KIMI_CONV_Q] = "ssm_conv1d_q.weight",
    [KIMI_CONV_K] = "ssm_conv1d_k.weight",
    [KIMI_CONV_V] = "ssm_conv1d_v.weight",
    [KIMI_DECAY_IN] = "ssm_f_a.weight",
    [KIMI_DECAY_OUT] = "ssm_f_b.weight",
    [KIMI_GATE_IN] = "ssm_g_a.weight",
    [KIMI_GATE_OUT] = "ssm_g_b.weight",
    [ATTN_OUT] = "attn_output.weight",
    [ATTN_OUT_BIAS] = "attn_output.bias",
    [POST_ATTN_NORM] = "post_attention_norm.weight",
    [ATTN_OUT_NORM] = "attn_output_norm.weight",
    [FFN_NORM] = "ffn_norm.weight",
    [FFN_NORM_BIAS] = "ffn_norm.bias",
    [FFN_GATE] = "ffn_gate.weight",
    [FFN_GATE_BIAS] = "ffn_gate.bias",
    [FFN_UP] = "ffn_up.weight",
    [FFN_UP_BIAS] = "ffn_up.bias",
    [FFN_ACT_SCALES] = "ffn.act.scales",
    [FFN_DOWN] = "ffn_down.weight",
    [FFN_DOWN_BIAS] = "ffn_down.bias",
    [POST_FFN_NORM] = "post_ffw_norm.weight",
    [TWIN_NORM] = "pre_ffw_norm_2.weight",
    [POST_DENSE_NORM] = "post_ffw_norm_1.weight",
    [POST_EXPERTS_NORM] = "post_ffw_norm_2.weight",
    [ROUTER_IN_SCALE] = "ffn_gate_inp.scale",
    [LAYER_OUT_NORM] = "layer_output_norm.weight",
    [ASIDE_NORM] = "ffn_norm_exps.weight",
    [ROUTER] = "ffn_gate_inp.weight",
    [ROUTER_BIAS] = "ffn_gate_inp.bias",
    [CHOICE_BIAS] = "exp_probs_b.bias",
    [EXP_GATE_UP] = "ffn_gate_up_exps.weight",
    [EXP_GATE_UP_BIAS] = "ffn_gate_up_exps.bias",
    [EXP_GATE] = "ffn_gate_exps.weight",
    [EXP_GATE_BIAS] = "ffn_gate_exps.bias",
    [EXP_UP] = "ffn_up_exps.weight",
    [EXP_UP_BIAS] = "ffn_up_exps.bias",
    [EXP_DOWN] = "ffn_down_exps.weight",
    [EXP_DOWN_BIAS] = "ffn_down_exps.bias",
    [GROUP_GATE] = "ffn_gate_chexps.weight",
    [GROUP_UP] = "ffn_up_chexps.weight",
    [GROUP_DOWN] = "ffn_down_chexps.weight",
    [SHARED_ROUTER] = "ffn_gate_inp_shexp.weight",
    [SHARED_GATE] = "ffn_gate_shexp.weight",
    [SHARED_UP] = "ffn_up_shexp.weight",
    [SHARED_DOWN] = "ffn_down_shexp.weight",
    [NEXT_JOINT] = "nextn.eh_proj.weight",
    [NEXT_TOKEN_NORM] = "nextn.enorm.weight",
    [NEXT_STATE_NORM] = "nextn.hnorm.weight",
    [NEXT_TABLE] = "nextn.embed_tokens.weight",
    [NEXT_NORM] = "nextn.shared_head_norm.weight",
    [NEXT_HEAD] = "nextn.shared_head_head.weight",
    [LAYER_GATE] = "inp_gate.weight",
    [LAYER_PROJ] = "proj.weight",
    [LAYER_POST_NORM] = "post_norm.weight",
    [LAYER_SCALE] = "layer_output_scale.weight",
    [STREAM_ROUTER] = "altup_router.weight",
    [STREAM_ROUTER_NORM] = "altup_router_norm.weight",
    [STREAM_PREDICT] = "altup_predict_coef.weight",
    [STREAM_CORRECT] = "altup_correct_coef.weight",
    [STREAM_SCALE] = "altup_correct_scale.weight",
    [LOW_IN] = "laurel_l.weight",
    [LOW_OUT] = "laurel_r.weight",
    [LOW_NORM] = "laurel_post_norm.weight",
    [MIX_LERP] = "time_mix_lerp_fused.weight",
    [MIX_RECEPTANCES] = "time_mix_receptance.weight",
    [MIX_W0] = "time_mix_w0.weight",
    [MIX_W1] = "time_mix_w1.weight",
    [MIX_W2] = "time_mix_w2.weight",
    [MIX_A0] = "time_mix_a0.weight",
    [MIX_A1] = "time_mix_a1.weight",
    [MIX_A2] = "time_mix_a2.weight",
    [MIX_V0] = "time_mix_v0.weight",
    [MIX_V1] = "time_mix_v1.weight",
    [MIX_V2] = "time_mix_v2.weight",
    [MIX_KEYS] = "time_mix_key.weight",
    [MIX_VALUES] = "time_mix_value.weight",
    [MIX_K_K] = "time_mix_k_k.weight",
    [MIX_K_A] = "time_mix_k_a.weight",
    [MIX_R_K] = "time_mix_r_k.weight",
    [MIX_NORM] = "time_mix_ln.weight",
    [MIX_NORM_BIAS] = "time_mix_ln.bias",
    [MIX_G1] = "time_mix_g1.weight",
    [MIX_G2] = "time_mix_g2.weight",
    [MIX_OUT] = "time_mix_output.weight",
    [CHANNEL_LERP] = "channel_mix_lerp_k.weight",
    [CHANNEL_KEY] = "channel_mix_key.weight",
    [CHANNEL_VALUE] = "channel_mix_value.weight",
};

/* --- the file's tensors ---------------------------------------------------------------------- */

static int32_t tensor_home(const struct builder *b, const struct dgo_tensor *tensor, int32_t home)
{
    const int32_t device = override_device(b->overrides, tensor->name);

    if (device == DGO_OVERRIDE_HOST)
        return whole_cpu(b);
    if (device != OVERRIDE_NONE)
        return device;
    return memory_expert_on_host(tensor, b->to->settings) ? whole_cpu(b) : home;
}

/* Whether `name` is the factor of a part's product: the part's name with another ending. */
static bool is_scale_of(const char *name, const char *part)
{
    const char *ending = strrchr(part, '.');
    const size_t length = ending ? (size_t)(ending - part) : 0;

    return ending && strcmp(ending, ".weight") == 0 && strncmp(name, part, length) == 0 &&
           strcmp(name + length, ".scale") == 0;
}

/* False: a tensor of a layer that no node here uses. */
static bool note_layer_tensor(struct builder *b, const struct dgo_tensor *tensor)
{
    const char *name = strchr(tensor->name, '.'); /* blk.N.name */
    int32_t home;

    if (tensor->layer >= b->memory->layer_count)
        return true; /* next-token blocks are not loaded */
    home = tensor_home(b, tensor, whole_home(b, tensor->layer));
    name = name ? strchr(name + 1, '.') : NULL;
    for (int p = 0; name && p < PART_COUNT; p++) {
        struct weight *weight = &b->part[tensor->layer][p];

        if (p == ROUTER_IN_SCALE && !whole_kind(b, tensor->layer)->twin)
            continue;
        if (graph_is_named(name + 1, part_names[p])) {
            weight->tensor = tensor;
            weight->home = home;
            return true;
        }
        /* Not every architecture multiplies by it, which makes no difference on a device. */
        if (is_scale_of(name + 1, part_names[p])) {
            if (home == whole_cpu(b) && !(whole_kind(b, tensor->layer)->twin && p == EXP_DOWN))
                return false;
            weight->scale = tensor;
            weight->scale_home = home;
            return true;
        }
    }
    return false;
}

static bool note_if(struct builder *b, const struct dgo_tensor *tensor, const char *name,
                    int32_t home, struct weight *weight)
{
    if (strcmp(tensor->name, name) != 0)
        return false;
    *weight = (struct weight){.tensor = tensor, .home = tensor_home(b, tensor, home)};
    return true;
}

/* What only drafts that are fed have; the encoder's graph is not the one that is reserved. */
static bool note_fed_tensor(struct builder *b, const struct dgo_tensor *tensor)
{
    const int32_t home =
        tensor->class == DGO_TENSOR_INPUT ? whole_cpu(b) : whole_home(b, b->memory->layer_count);

    return strcmp(tensor->name, "fc.weight") == 0 ||
           strcmp(tensor->name, "enc.output_norm.weight") == 0 ||
           note_if(b, tensor, "d2t", home, &b->words) ||
           note_if(b, tensor, "markov_w1.weight", home, &b->markov[0]) ||
           note_if(b, tensor, "markov_w2.weight", home, &b->markov[1]);
}

static bool note_tensor(struct builder *b, const struct dgo_tensor *tensor)
{
    const int32_t output_home = whole_home(b, b->memory->layer_count);
    const int32_t first_home = whole_home(b, 0);

    if (b->memory->terms.fed && note_fed_tensor(b, tensor))
        return true;
    switch (tensor->class) {
    case DGO_TENSOR_INPUT:
        if (note_if(b, tensor, "position_embd.weight", whole_cpu(b), &b->positions))
            return true;
        if (note_if(b, tensor, "per_layer_token_embd.weight", whole_cpu(b), &b->layer_embedding))
            return true;
        if (strcmp(tensor->name, "token_embd.weight") != 0)
            return false;
        b->embedding =
            (struct weight){.tensor = tensor, .home = tensor_home(b, tensor, whole_cpu(b))};
        if (b->model->tied_embeddings && !b->memory->terms.fed)
            b->output =
                (struct weight){.tensor = tensor, .home = tensor_home(b, tensor, output_home)};
        return true;
    case DGO_TENSOR_LAYER:
        return note_if(b, tensor, "token_embd_norm.weight", first_home, &b->embedding_norm) ||
               note_if(b, tensor, "token_embd_norm.bias", first_home, &b->embedding_norm_bias) ||
               note_if(b, tensor, "per_layer_model_proj.weight", first_home,
                       &b->layer_embedding_product) ||
               note_if(b, tensor, "per_layer_proj_norm.weight", first_home,
                       &b->layer_embedding_norm) ||
               note_layer_tensor(b, tensor);
    case DGO_TENSOR_OUTPUT:
        return note_if(b, tensor, "output.weight", output_home, &b->output) ||
               note_if(b, tensor, "altup_proj.weight", output_home, &b->split_up) ||
               note_if(b, tensor, "altup_unembd_proj.weight", output_home, &b->joined_again) ||
               note_if(b, tensor, "output.bias", output_home, &b->output_bias) ||
               note_if(b, tensor, "output_norm.weight", output_home, &b->output_norm) ||
               note_if(b, tensor, "token_embd_norm.weight", output_home, &b->output_norm) ||
               note_if(b, tensor, "output_norm.bias", output_home, &b->output_norm_bias);
    case DGO_TENSOR_TABLE:
        /* One of the factors for long contexts and short ones is used; they are as many. */
        b->rope = tensor;
        return true;
    }
    return false;
}

static bool has_all(const struct weight *w, const enum part *needed, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!w[needed[i]].tensor)
            return false;
    return true;
}

#define HAS(w, ...)                                                                                \
    has_all(w, (const enum part[]){__VA_ARGS__},                                                   \
            sizeof((const enum part[]){__VA_ARGS__}) / sizeof(enum part))

static bool has_state_space(const struct builder *b, const struct weight *w)
{
    return HAS(w, SSM_IN, SSM_CONV, SSM_DT, SSM_A, SSM_D, SSM_OUT) &&
           (!b->shape->selective || HAS(w, SSM_X, SSM_STEPS));
}

static bool has_heads(const struct builder *b, uint32_t l)
{
    const struct weight *w = b->part[l];
    const struct graph_layer *kind = whole_kind(b, l);

    if (w[ATTN_QKV].tensor)
        return !kind->borrows && !kind->values_are_keys;
    return w[ATTN_Q].tensor && (kind->borrows || w[ATTN_K].tensor) &&
           (kind->borrows || kind->values_are_keys || w[ATTN_V].tensor);
}

/* The first layer's values are pulled towards nothing. */
static bool has_mixing(const struct weight *w, uint32_t l)
{
    return HAS(w, MIX_LERP, MIX_RECEPTANCES, MIX_W0, MIX_W1, MIX_W2, MIX_A0, MIX_A1, MIX_A2,
               MIX_KEYS, MIX_VALUES, MIX_K_K, MIX_K_A, MIX_R_K, MIX_NORM, MIX_NORM_BIAS, MIX_G1,
               MIX_G2, MIX_OUT, CHANNEL_LERP, CHANNEL_KEY, CHANNEL_VALUE) &&
           (l == 0 || HAS(w, MIX_V0, MIX_V1, MIX_V2));
}

static bool has_index(const struct builder *b, uint32_t l)
{
    return !whole_kind(b, l)->indexed || HAS(b->part[l], INDEX_KEY, INDEX_KEY_NORM,
                                             INDEX_KEY_NORM_BIAS, INDEX_QUERIES, INDEX_SHARES);
}

static bool has_mixer(const struct builder *b, uint32_t l)
{
    const struct weight *w = b->part[l];

    switch ((enum graph_mixer)whole_kind(b, l)->mixer) {
    case GRAPH_ATTENTION:
        return w[ATTN_OUT].tensor && has_heads(b, l);
    case GRAPH_EXPANDED:
        return HAS(w, ATTN_OUT, LATENT_KV, LATENT_KV_NORM, LATENT_KV_HEADS) &&
               (b->shape->query_rank > 0 ? HAS(w, LATENT_Q, LATENT_Q_NORM, LATENT_Q_HEADS)
                                         : w[ATTN_Q].tensor != NULL);
    case GRAPH_LATENT:
        if (w[DELTA_GATE].tensor && w[DELTA_GATE].tensor->dim[1] != b->model->layer[l].head_count)
            return false;
        return has_index(b, l) &&
               HAS(w, ATTN_OUT, LATENT_KV, LATENT_KV_NORM, LATENT_K_HEADS, LATENT_V_HEADS) &&
               (b->shape->query_rank > 0 ? HAS(w, LATENT_Q, LATENT_Q_NORM, LATENT_Q_HEADS)
                                         : w[ATTN_Q].tensor != NULL);
    case GRAPH_DELTA:
        return HAS(w, ATTN_QKV, DELTA_GATE, SSM_CONV, SSM_DT, SSM_A, SSM_NORM, SSM_OUT) &&
               (w[SSM_BETA_ALPHA].tensor || HAS(w, SSM_ALPHA, SSM_BETA));
    case GRAPH_STATE_SPACE:
        return has_state_space(b, w);
    case GRAPH_STATE_AND_ATTENTION:
        return has_state_space(b, w) && HAS(w, ATTN_OUT, ATTN_Q, ATTN_K, ATTN_V);
    case GRAPH_CONVOLUTION:
        return HAS(w, SHORT_IN, SHORT_CONV, SHORT_OUT);
    case GRAPH_KIMI_DELTA:
        return HAS(w, ATTN_Q, ATTN_K, ATTN_V, KIMI_CONV_Q, KIMI_CONV_K, KIMI_CONV_V, KIMI_DECAY_IN,
                   KIMI_GATE_IN, SSM_DT, SSM_A, SSM_BETA, SSM_NORM, ATTN_OUT) &&
               !w[KIMI_DECAY_OUT].tensor == !w[KIMI_GATE_OUT].tensor;
    case GRAPH_MIXING:
        return has_mixing(w, l);
    case GRAPH_NO_MIXER:
        return true;
    default:
        return false;
    }
}

static bool has_feed(const struct builder *b, uint32_t l)
{
    const struct weight *w = b->part[l];

    if (!whole_kind(b, l)->routed && !whole_kind(b, l)->dense)
        return whole_kind(b, l)->mixer != GRAPH_NO_MIXER;

    const struct graph_layer *kind = whole_kind(b, l);

    if ((!kind->routed || kind->dense_too || kind->experts_aside || kind->twin) &&
        !HAS(w, FFN_UP, FFN_DOWN))
        return false;
    if (kind->twin && !HAS(w, TWIN_NORM, FFN_NORM, POST_DENSE_NORM, POST_EXPERTS_NORM))
        return false;
    if (!kind->routed)
        return true;
    if (kind->shared &&
        !(HAS(w, SHARED_UP, SHARED_DOWN) &&
          (kind->shared_ungated ? !w[SHARED_ROUTER].tensor : w[SHARED_GATE].tensor != NULL)))
        return false;
    if (!HAS(w, ROUTER, EXP_DOWN) || (kind->grouped && !HAS(w, GROUP_GATE, GROUP_UP, GROUP_DOWN)))
        return false;
    if (kind->experts_ungated)
        return w[EXP_UP].tensor;
    return w[EXP_GATE_UP].tensor || HAS(w, EXP_GATE, EXP_UP);
}

/* What stands between the layers of models that have more than one stream of single rows. */
static bool has_more(const struct builder *b, uint32_t l)
{
    const struct weight *w = b->part[l];
    const struct graph_layer *kind = whole_kind(b, l);

    if (kind->embedded && !(HAS(w, LAYER_GATE, LAYER_PROJ, LAYER_POST_NORM) &&
                            b->layer_embedding.tensor && b->layer_embedding_product.tensor &&
                            b->layer_embedding_norm.tensor && b->shape->layer_embedding > 0))
        return false;
    return !b->shape->streams ||
           (kind->embedded && b->split_up.tensor && b->joined_again.tensor &&
            HAS(w, STREAM_ROUTER, STREAM_ROUTER_NORM, STREAM_PREDICT, STREAM_CORRECT, STREAM_SCALE,
                LOW_IN, LOW_OUT, LOW_NORM, ATTN_NORM, POST_ATTN_NORM, FFN_NORM, FFN_GATE,
                POST_FFN_NORM));
}

/* What an input was scaled by when the file was made: no node asks for it. */
static bool is_for_quantizing(const struct dgo_tensor *tensor)
{
    const char *ending = strrchr(tensor->name, '.');

    return ending && strcmp(ending, ".input_scale") == 0;
}

/* One tensor by two names, or by one name in two places. */
static void name_once(struct weight *w)
{
    if (w[ATTN_OUT_NORM].tensor)
        w[w[FFN_NORM].tensor ? POST_ATTN_NORM : FFN_NORM] = w[ATTN_OUT_NORM];
    if (w[LAYER_OUT_NORM].tensor)
        w[POST_FFN_NORM] = w[LAYER_OUT_NORM];
}

/* A next-token block may have ends of its own; what it has not got is the model's. */
static bool take_ends(struct builder *b)
{
    const struct weight *w = b->part[0];

    if (w[NEXT_TABLE].tensor)
        b->embedding = w[NEXT_TABLE];
    if (w[NEXT_NORM].tensor)
        b->output_norm = w[NEXT_NORM];
    if (w[NEXT_HEAD].tensor)
        b->output = w[NEXT_HEAD];
    return HAS(w, NEXT_JOINT, NEXT_TOKEN_NORM, NEXT_STATE_NORM);
}

/* Of the model that feeds it, where the draft has none. */
static const struct dgo_tensor *shared_tensor(const struct dgo_model *model, bool output)
{
    const char *const name =
        output && !model->tied_embeddings ? "output.weight" : "token_embd.weight";

    for (uint32_t i = 0; i < model->tensor_count; i++)
        if (strcmp(model->tensor[i].name, name) == 0)
            return &model->tensor[i];
    return NULL;
}

/* What lies on none of the draft's devices ends the engine. */
static struct weight shared_weight(const struct builder *b, bool output)
{
    const struct dgo_feeding *feeding = b->to->settings->feeding;
    const int32_t device = output ? feeding->output_device : feeding->embedding_device;
    struct weight weight = {.home = device == DGO_OVERRIDE_HOST ? whole_cpu(b) : device};

    if (device != DGO_FEEDING_ELSEWHERE)
        weight.tensor = shared_tensor(feeding->model, output);
    return weight;
}

static void share_ends(struct builder *b)
{
    if (!b->embedding.tensor)
        b->embedding = shared_weight(b, false);
    if (!b->output.tensor)
        b->output = shared_weight(b, true);
}

bool whole_note_tensors(struct builder *b)
{
    for (uint32_t i = 0; i < b->model->tensor_count; i++)
        if (!is_for_quantizing(&b->model->tensor[i]) && !note_tensor(b, &b->model->tensor[i]))
            return false;
    for (uint32_t l = 0; l < b->memory->layer_count; l++) {
        name_once(b->part[l]);
        if (!has_mixer(b, l) || !has_feed(b, l) || !has_more(b, l))
            return false;
    }
    if (b->sort == WHOLE_BLOCK && !take_ends(b))
        return false;
    if (b->memory->terms.fed)
        share_ends(b);
    return b->embedding.tensor && b->output.tensor &&
           (b->output_norm.tensor || b->shape->norms_bare);
}
