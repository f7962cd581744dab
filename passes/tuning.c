/* Measured choices as a table and as text. */
#include "passes/tuning.h"
#include "ir/ops.h"
#include <stdlib.h>
#include <string.h>

static const char first_line[] = "lathe tuning 1";

static void put_value(Text *t, Module *m, ValueId v) {
  if (!v) { text_put(t, "_"); return; }
  const Value *x = value_of(m, v);
  text_printf(t, "%s%s", type_text(&x->type), x->constant ? "c" : "");
  if (!x->at.base || x->constant) return;
  for (int k = 0; k < x->type.rank; k++) text_printf(t, "%c%s", k ? ',' : ':', dim_text(x->at.stride[k]));
}

static void put_node(Text *t, Module *m, const Node *n) {
  text_printf(t, " %s(", op_info[n->op].text);
  for (int k = 0; k < n->nin; k++) {
    text_put(t, k ? ";" : "");
    put_value(t, m, n->in[k]);
  }
  for (int k = 0; k < n->nattr; k++) {
    if (n->attr[k].kind == ATTR_TENSOR) continue;
    text_put(t, ";");
    attr_print(t, &n->attr[k]);
  }
  text_put(t, ")");
  for (int k = 0; k < n->nout; k++) put_value(t, m, n->out[k]);
}

const char *tuning_key(Module *m, const Group *g, const Target *target, Arena *a) {
  Text t = {0};
  text_printf(&t, "%s/%d/%d", target->name, target->lanes, target->registers);
  for (int k = 0; k < group_nodes(g); k++) put_node(&t, m, node_of(m, group_node(m, g, k)));
  for (char *c = t.at; *c; c++) if (*c == '\n') *c = ' ';
  const char *key = arena_strdup(a, t.at);
  text_free(&t);
  return key;
}

const TuningRow *tuning_find(const Tuning *t, const char *key) {
  for (int i = 0; i < t->rows.len; i++)
    if (!strcmp(t->rows.at[i].key, key)) return &t->rows.at[i];
  return NULL;
}

void tuning_add(Tuning *t, const char *key, int choice) {
  if (!tuning_find(t, key)) *vec_push(t->arena, &t->rows) = (TuningRow){key, choice};
}

void tuning_print(Text *to, const Tuning *t) {
  text_printf(to, "%s\n", first_line);
  for (int i = 0; i < t->rows.len; i++) text_printf(to, "%d %s\n", t->rows.at[i].choice, t->rows.at[i].key);
}

bool tuning_parse(Tuning *t, const char *text, Diags *d) {
  size_t n = strcspn(text, "\n");
  if (n != strlen(first_line) || strncmp(text, first_line, n)) {
    diag_error(d, "tuning", "line 1", "this is no tuning: it does not begin with '%s'", first_line);
    return false;
  }
  for (int line = 2; text[n]; line++) {
    text += n + 1;
    n = strcspn(text, "\n");
    if (!n) continue;
    char *end;
    long choice = strtol(text, &end, 10);
    if (end == text || *end != ' ' || choice < 0 || choice > 999 || end + 1 >= text + n) {
      diag_error(d, "tuning", arena_printf(t->arena, "line %d", line), "wants a choice and the key of a kernel");
      return false;
    }
    tuning_add(t, arena_printf(t->arena, "%.*s", (int)(text + n - end - 1), end + 1), (int)choice);
  }
  return true;
}
