/* Which nets a text calls, and how, and which variables nobody reads: read off the tree. */
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

/* ---- variables ---- */

static bool term_reads(const Term *e, const char *name) {
  if (!e) return false;
  bool reads = (e->kind == TERM_NAME && !strcmp(e->text, name)) || term_reads(e->a, name) || term_reads(e->b, name);
  for (int k = 0; !reads && k < e->items.len; k++) reads = term_reads(e->items.at[k], name);
  for (int k = 0; !reads && k < e->args.len; k++) reads = term_reads(e->args.at[k].value, name);
  return reads;
}

static bool body_reads(const Statements *body, const char *name) {
  bool reads = false;
  for (int k = 0; !reads && k < body->len; k++) {
    const Statement *s = body->at[k];
    reads = term_reads(s->value, name) || body_reads(&s->body, name);
    for (int i = 0; !reads && i < s->results.len; i++) reads = term_reads(s->results.at[i], name);
    for (int i = 0; !reads && i < s->groups.len; i++) reads = term_reads(s->groups.at[i].with, name);
  }
  return reads;
}

/* Of `y, state = …` it is enough that one is read; a name that begins with _ is not meant to be. */
static void check_assigned(Lang *l, const Statements *all, const Statements *part, const char *implied) {
  for (int k = 0; k < part->len; k++) {
    const Statement *s = part->at[k];
    if (s->kind == STATEMENT_REPEAT) check_assigned(l, all, &s->body, implied);
    bool reads = s->kind != STATEMENT_ASSIGN;
    for (int i = 0; !reads && i < s->names.len; i++) {
      const char *name = s->names.at[i].text;
      reads = name[0] == '_' || (implied && !strcmp(name, implied)) || body_reads(all, name);
    }
    if (!reads) lathe_warn(&l->text, "unused", s->names.at[0].at, "nothing reads '%s'", s->names.at[0].text);
  }
}

void lang_check_variables(Lang *l) {
  for (int k = 0; k < l->file->nets.len; k++) {
    const Statements *body = &l->file->nets.at[k]->body;
    check_assigned(l, body, body, NULL);
  }
  for (int k = 0; k < l->file->steps.len; k++) {
    const StepDecl *s = l->file->steps.at[k];
    check_assigned(l, &s->body, &s->body, lang_step_minimizes(s) ? NULL : "loss");
  }
}
