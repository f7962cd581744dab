/* binds.h: one walk from values to the inputs of the model. Regions' inputs end it: what a loop carries is not
 * known by binding what it starts with. */
#include "ir/binds.h"

static void walk(Text *t, Module *m, ValueId v, bool *seen) {
  if (!v || seen[v]) return;
  seen[v] = true;
  const Node *d = value_of(m, v)->def ? node_of(m, value_of(m, v)->def) : NULL;
  for (int k = 0; d && k < d->nin; k++) walk(t, m, d->in[k], seen);
  for (int k = 0; k < m->main->inputs.len; k++)
    if (m->main->inputs.at[k] == v) text_printf(t, " --bind %s=VALUES", value_of(m, v)->name);
}

void binds_put(Text *t, Module *m, const ValueId *v, int n) {
  Arena tmp = {0};
  bool *seen = NEW_N(&tmp, bool, m->values.len);
  for (int k = 0; k < n; k++) walk(t, m, v[k], seen);
  arena_free(&tmp);
}
