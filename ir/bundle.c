/* The state block of a bundle; see bundle.h. */
#include "ir/bundle.h"
#include "base/intern.h"
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

const char *const state_role_text[] = {
  [ROLE_PARAMETER] = "parameter", [ROLE_OPTIMIZER] = "optimizer", [ROLE_STATISTIC] = "statistic",
  [ROLE_AVERAGE] = "average", [ROLE_COUNTER] = "counter", [ROLE_SETTING] = "setting",
};

enum { LINE = 64 };

static int64_t aligned(int64_t n) { return (n + LINE - 1) / LINE * LINE; }

bool bundle_add_state(Bundle *b, Module *init, const char *name, Type t, StateRole role, const char *of,
                      ValueId first) {
  if (strlen(name) >= STATE_NAME) {
    diag_error(b->diags, "usage", of, "the name '%s' of a tensor of the state has %zu bytes, at most %d fit; shorten "
               "the names of the nets and layers", name, strlen(name), STATE_NAME - 1);
    return false;
  }
  if (t.rank > STATE_RANK) {
    diag_error(b->diags, "usage", of, "'%s' is %s: a tensor of the state has at most %d axes", name, type_text(&t),
               STATE_RANK);
    return false;
  }
  *vec_push(&b->arena, &b->state) = (StateTensor){.name = intern(name), .type = t, .role = role, .of = of};
  if (first) graph_state_next(init, intern(name), first);
  return true;
}

void bundle_layout(Bundle *b) {
  int64_t at = aligned(STATE_HEADER + (int64_t)STATE_ENTRY * b->state.len);
  for (int k = 0; k < b->state.len; k++) {
    StateTensor *t = &b->state.at[k];
    t->offset = at;
    at = aligned(at + type_count(&t->type).k * dtype_bytes(t->type.dtype));
  }
  b->state_bytes = at;
}

uint64_t bundle_hash(const Bundle *b) {
  Text t = {0};
  for (int k = 0; k < b->state.len; k++)
    text_printf(&t, "%s %s %s\n", b->state.at[k].name, type_text(&b->state.at[k].type),
                state_role_text[b->state.at[k].role]);
  uint64_t h = XXH64(t.at ? t.at : "", t.len, 0);
  text_free(&t);
  return h;
}

const StateTensor *bundle_find(const Bundle *b, const char *name) {
  for (int k = 0; k < b->state.len; k++)
    if (!strcmp(b->state.at[k].name, name)) return &b->state.at[k];
  return NULL;
}

const Function *bundle_function(const Bundle *b, FunctionKind kind, const char *name) {
  for (int k = 0; k < b->fn.len; k++)
    if (b->fn.at[k].kind == kind && (!name || !strcmp(b->fn.at[k].name, name))) return &b->fn.at[k];
  return NULL;
}

void bundle_free(Bundle *b) {
  for (int k = 0; k < b->fn.len; k++) if (b->fn.at[k].m) module_free(b->fn.at[k].m);
  Arena a = b->arena;                                // the bundle itself may live in it
  arena_free(&a);
}
