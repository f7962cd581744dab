/* Functions of runtime/ that kernels call: the files that define them go beside the module, with the files
 * those need in turn. What needs what is read from the text of the files built into lathe. */
#include "codegen/embed.h"
#include "codegen/emit_parts.h"
#include <ctype.h>

/* Does the file define this function: "name(" after a type, at the start of a line, in a .c file? */
static bool defines(const EmbedFile *f, const char *name) {
  size_t len = strlen(f->name), n = strlen(name);
  if (len < 2 || strcmp(f->name + len - 2, ".c") || !strncmp(f->name, "lt_", 3)) return false;
  for (const char *s = f->text; (s = strstr(s, name)); s += n) {
    if (s[n] != '(' || s == f->text || char_is_word(s[-1])) continue;
    const char *line = s;
    while (line > f->text && line[-1] != '\n') line--;
    if (!isalpha((unsigned char)*line) || !strncmp(line, "static", 6) || !strncmp(line, "return", 6)) continue;
    const char *end = strpbrk(s, ";{");
    if (end && *end == '{') return true;
  }
  return false;
}

static bool have(const Emit *e, const char *name) {
  for (int i = 0; i < e->out->at.len; i++)
    if (!strcmp(e->out->at.at[i].name, name)) return true;
  return false;
}

static void add_file(Emit *e, const EmbedFile *f);

static void add_definition(Emit *e, const char *name) {
  for (int i = 0; i < embed_count; i++)
    if (defines(&embed_files[i], name)) { add_file(e, &embed_files[i]); return; }
}

static void add_file(Emit *e, const EmbedFile *f) {
  if (have(e, f->name)) return;
  *vec_push(e->a, &e->out->at) = (EmitFile){.name = f->name, .data = f->text, .size = f->size};
  for (const char *s = f->text; (s = strstr(s, "#include \"")); s++) {
    const char *from = s + 10;
    const EmbedFile *h = embed_find(arena_printf(e->a, "%.*s", (int)strcspn(from, "\"\n"), from));
    if (h) add_file(e, h);
  }
  size_t len = strlen(f->name);
  bool header = len > 2 && !strcmp(f->name + len - 2, ".h");
  for (const char *s = f->text; !header && (s = strstr(s, "lt_")); s += 3) {
    size_t n = 3;
    while (char_is_word(s[n])) n++;
    if (s[n] != '(' || (s > f->text && char_is_word(s[-1]))) continue;
    const char *name = arena_printf(e->a, "%.*s", (int)n, s);
    if (!defines(f, name)) add_definition(e, name);
  }
}

void emit_calls(Emit *e) {
  for (int i = 0; i < e->c->calls.len; i++) add_definition(e, e->c->calls.at[i]);
}
