/* Weights: PREFIX.bin (a checked header and the block), or PREFIX_weights.c that links that file in or writes
 * the block as typed C arrays. The block is the same in all three: buffers at the offsets `place` gave them. */
#include "codegen/emit_parts.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

static int by_offset(const void *x, const void *y) {
  const Buffer *a = *(const Buffer *const *)x, *b = *(const Buffer *const *)y;
  return a->offset.k < b->offset.k ? -1 : a->offset.k > b->offset.k;
}

/* Weight buffers in order of offset; the same tensor may stand behind several. */
static int sorted(const Emit *e, const Buffer ***out) {
  const Buffer **w = NEW_N(e->a, const Buffer *, e->p->buffers.len + 1);
  int n = 0;
  for (int i = 0; i < e->p->buffers.len; i++)
    if (e->p->buffers.at[i].home == HOME_WEIGHT) w[n++] = &e->p->buffers.at[i];
  qsort(w, (size_t)n, sizeof *w, by_offset);
  int m = 0;
  for (int i = 0; i < n; i++)
    if (!m || w[i]->offset.k != w[m - 1]->offset.k) w[m++] = w[i];
  *out = w;
  return m;
}

uint64_t emit_layout_hash(const Emit *e) {
  const Buffer **w;
  int n = sorted(e, &w);
  Text t = {0};
  for (int i = 0; i < n; i++)
    text_printf(&t, "%lld %s %lld\n", (long long)w[i]->offset.k, dtype_info[w[i]->dtype].text,
                (long long)tensor_count(w[i]->data));
  uint64_t h = XXH64(t.at ? t.at : "", t.len, 0);
  text_free(&t);
  return h;
}

static void header(const Emit *e, char *file, uint64_t hash) {
  uint32_t head[2] = {1, 64};
  uint64_t rest[3] = {emit_layout_hash(e), (uint64_t)e->p->weight_bytes, hash};
  memset(file, 0, 64);
  memcpy(file, "LATHEWTS", 8);
  memcpy(file + 8, head, 8);
  memcpy(file + 16, rest, 24);
}

static void flat_binary(Emit *e) {
  size_t size = (size_t)e->p->weight_bytes;
  char *file = arena_alloc(e->a, 64 + size + 1), *data = file + 64;
  const Buffer **w;
  int n = sorted(e, &w);
  for (int i = 0; i < n; i++)
    if (tensor_bytes(w[i]->data)) memcpy(data + w[i]->offset.k, w[i]->data->data, tensor_bytes(w[i]->data));
  header(e, file, XXH64(data, size, 0));
  *vec_push(e->a, &e->out->at) = (EmitFile){.name = emit_name(e, ".bin"), .data = file, .size = 64 + size};
}

/* The same bytes where they are: a large model's weights are most of what lathe holds. False: buffers overlap. */
static bool pieces_binary(Emit *e) {
  const Buffer **w;
  int n = sorted(e, &w), np = 1;
  int64_t at = 0, size = e->p->weight_bytes, gap = 0;
  for (int i = 0; i <= n; i++) {
    int64_t from = i < n ? w[i]->offset.k : size;
    if (from < at) return false;
    if (from - at > gap) gap = from - at;
    if (i < n) at = from + (int64_t)tensor_bytes(w[i]->data);
  }
  const char *zeros = arena_alloc(e->a, (size_t)gap + 1);
  Piece *p = NEW_N(e->a, Piece, 2 * n + 2);
  XXH64_state_t hash;
  XXH64_reset(&hash, 0);
  at = 0;
  for (int i = 0; i <= n; i++) {
    int64_t from = i < n ? w[i]->offset.k : size;
    if (from > at) p[np++] = (Piece){zeros, (size_t)(from - at)};
    if (i < n && tensor_bytes(w[i]->data)) p[np++] = (Piece){w[i]->data->data, tensor_bytes(w[i]->data)};
    if (i < n) at = from + (int64_t)tensor_bytes(w[i]->data);
  }
  for (int i = 1; i < np; i++) XXH64_update(&hash, p[i].at, p[i].size);
  char *head = arena_alloc(e->a, 64);
  header(e, head, XXH64_digest(&hash));
  p[0] = (Piece){head, 64};
  *vec_push(e->a, &e->out->at) = (EmitFile){.name = emit_name(e, ".bin"), .size = 64 + (size_t)size, .piece = p, .pieces = np};
  return true;
}

static void binary(Emit *e) {
  if (!e->o->in_pieces || !pieces_binary(e)) flat_binary(e);
}

static void linked(Emit *e) {
  Text t = {0};
  const char *p = e->prefix;
  emit_banner(e, &t, "the weights, taken from the file beside this one by the assembler (needs -I of its folder)");
  text_printf(&t, "#include \"%s.h\"\n\n", p);
  text_put(&t, "#if defined(__APPLE__)\n#define SECTION \".const_data\\n\"\n#define SYMBOL \"_\"\n#else\n"
               "#define SECTION \".section .rodata\\n\"\n#define SYMBOL \"\"\n#endif\n");
  text_printf(&t, "__asm__(SECTION \".balign 64\\n\" SYMBOL \"%s_data:\\n.incbin \\\"%s.bin\\\", 64\\n.byte 0\\n"
                  ".text\\n\");\n", p, p);
  text_printf(&t, "extern const char %s_data[];\nconst void *const %s_weights = %s_data;\n", p, p, p);
  emit_file(e, emit_name(e, "_weights.c"), &t);
}

/* One member per tensor, with padding between, so that offsets are those of the plan on every machine. */
static void array(Emit *e) {
  Text t = {0}, values = {0};
  const Buffer **w;
  int n = sorted(e, &w), pads = 0;
  int64_t at = 0;
  emit_banner(e, &t, "the weights as C arrays");
  text_printf(&t, "#include \"%s.h\"\n#include <math.h>\n\nstatic const struct {\n", e->prefix);
  for (int i = 0; i < n; i++) {
    const Tensor *x = w[i]->data;
    int64_t count = tensor_count(x);
    if (!count) continue;
    if (w[i]->offset.k > at) {
      text_printf(&t, "  char pad%d[%lld];\n", pads++, (long long)(w[i]->offset.k - at));
      text_put(&values, "  {0},\n");
    }
    text_printf(&t, "  %s %s_%d[%lld];\n", c_storage(x->dtype), c_identifier(e->a, w[i]->name), i, (long long)count);
    text_printf(&values, "  { /* %s */", w[i]->name);
    size_t line = values.len;
    bool bits = dtype_is_float(x->dtype) && dtype_bytes(x->dtype) < 4;
    for (int64_t k = 0; k < count; k++) {
      if (values.len - line > 96 || k == 0) { text_put(&values, "\n   "); line = values.len; }
      if (bits)
        text_printf(&values, " %u,",
                    dtype_bytes(x->dtype) == 2 ? ((const uint16_t *)x->data)[k] : ((const uint8_t *)x->data)[k]);
      else {
        Arena tmp = {0};
        bool flt = dtype_is_float(x->dtype);
        text_printf(&values, " %s,",
                    c_number(&tmp, x->dtype, flt ? tensor_get(x, k) : 0, flt ? 0 : tensor_get_int(x, k)));
        arena_free(&tmp);
      }
    }
    text_put(&values, "\n  },\n");
    at = w[i]->offset.k + (int64_t)tensor_bytes(x);
  }
  if (at == 0) { text_put(&t, "  char none[1];\n"); text_put(&values, "  {0},\n"); }
  text_printf(&t, "}%s data = {\n", e->c->plain ? "" : " __attribute__((aligned(64)))");
  text_bytes(&t, values.at, values.len);
  text_printf(&t, "};\nconst void *const %s_weights = &data;\n", e->prefix);
  text_free(&values);
  emit_file(e, emit_name(e, "_weights.c"), &t);
}

void emit_weights(Emit *e) {
  if (e->o->weights != WEIGHTS_ARRAY) binary(e);
  if (e->o->weights == WEIGHTS_LINK) linked(e);
  if (e->o->weights == WEIGHTS_ARRAY) array(e);
}
