/* Which nets a text calls, and how: read off the tree, before anything is built. */
#include "frontend/lathe_build.h"
#include <string.h>

typedef struct Uses { const char *name; int shared, fresh; } Uses;

static void in_term(Uses *u, const Term *e) {
  if (!e) return;
  if (e->kind == TERM_CALL && !strcmp(e->text, u->name)) *(e->fresh ? &u->fresh : &u->shared) += 1;
  in_term(u, e->a);
  in_term(u, e->b);
  for (int k = 0; k < e->items.len; k++) in_term(u, e->items.at[k]);
  for (int k = 0; k < e->args.len; k++) in_term(u, e->args.at[k].value);
}

static void in_statements(Uses *u, const Statements *s) {
  for (int k = 0; k < s->len; k++) {
    in_term(u, s->at[k]->value);
    for (int i = 0; i < s->at[k]->results.len; i++) in_term(u, s->at[k]->results.at[i]);
    in_statements(u, &s->at[k]->body);
  }
}

static Uses uses_of(Lang *l, const char *name) {
  Uses u = {name, 0, 0};
  for (int k = 0; k < l->file->nets.len; k++) {
    const NetDecl *n = l->file->nets.at[k];
    if (n->from && n->from->fresh && !strcmp(n->from->text, name)) u.fresh++;
    else if (strcmp(n->name.text, name)) in_statements(&u, &n->body);
  }
  for (int k = 0; k < l->file->steps.len; k++) in_statements(&u, &l->file->steps.at[k]->body);
  return u;
}

bool net_is_pattern(Lang *l, const NetDecl *n) {
  Uses u = uses_of(l, n->name.text);
  return u.fresh && !u.shared;
}

bool net_is_called(Lang *l, const NetDecl *n) {
  Uses u = uses_of(l, n->name.text);
  return u.fresh || u.shared;
}
