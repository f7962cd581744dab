/* A kernel as a C function: its note as a comment, parameters, local arrays, body. And the prelude that the
 * functions printed so far need. */
#include "codegen/c.h"
#include "base/intern.h"

/* Lines break at 110 columns, between words. */
void c_comment(Text *to, int indent, const char *text) {
  size_t start = to->len;
  text_printf(to, "%*s/* ", indent, "");
  while (*text) {
    size_t n = strcspn(text, " \n");
    if (to->len - start + n > 108 && to->len - start > (size_t)indent + 6) {
      while (to->at[to->len - 1] == ' ') to->at[--to->len] = 0;
      text_put(to, "\n");
      start = to->len;
      text_printf(to, "%*s *   ", indent, "");
    }
    for (size_t i = 0; i < n; i++) {                             // a node's name may hold anything
      bool ends = text[i] == '*' && text[i + 1] == '/', begins = text[i] == '/' && text[i + 1] == '*';
      text_printf(to, ends || begins ? "%c " : "%c", text[i]);
    }
    text += n;
    if (*text == '\n' && text[1]) {
      text_put(to, "\n");
      start = to->len;
      text_printf(to, "%*s * ", indent, "");
    } else if (*text == ' ') {
      text_put(to, " ");
    }
    if (*text) text++;
  }
  text_put(to, " */\n");
}

void c_kernel_signature(CPrinter *p, Text *to, const Kernel *k, const char *linkage, const char *name, bool aliased) {
  CScope *was = p->scope;
  p->scope = c_scope(p, k);
  Text t = {0};
  text_printf(&t, "%svoid %s(", linkage, name);
  const char *sep = "";
  for (int i = 0; i < k->bufs.len; i++) {
    const Buf *b = k->bufs.at[i];
    if (b->role == BUF_LOCAL) continue;
    text_printf(&t, "%s%s%s *%s%s", sep, b->role == BUF_IN ? "const " : "", c_storage(b->dtype),
                aliased ? "" : "restrict ", c_buf(p, b));
    sep = ", ";
  }
  for (int i = 0; i < k->dims.len; i++, sep = ", ") text_printf(&t, "%sint64_t %s", sep, c_var(p, k->dim_vars.at[i]));
  text_put(&t, *sep ? ")" : "void)");
  Text *out = p->out;
  p->out = to;
  c_line(p, "%s", t.at);
  p->out = out;
  to->at[--to->len] = 0;                                       // the caller ends the line
  text_free(&t);
  p->scope = was;
}

void c_kernel(CPrinter *p, Text *to, const Kernel *k, const char *name, bool aliased) {
  p->scope = c_scope(p, k);
  p->out = to;
  p->indent = 0;
  c_kernel_signature(p, to, k, "", name, aliased);
  text_put(to, " {\n");
  p->indent = 1;
  for (int i = 0; i < k->bufs.len; i++) {
    const Buf *b = k->bufs.at[i];
    if (b->role != BUF_LOCAL) { if (!c_buf_used(p, b)) c_line(p, "(void)%s;", c_buf(p, b)); continue; }
    if (!c_buf_used(p, b)) continue;
    const char *align = p->plain ? "" : " __attribute__((aligned(64)))";
    c_line(p, "%s %s[%lld]%s;", c_storage(b->dtype), c_buf(p, b), (long long)b->size.k, align);
  }
  for (int i = 0; i < k->dims.len; i++)
    if (!c_reads(p, k->dim_vars.at[i])) c_line(p, "(void)%s;", c_var(p, k->dim_vars.at[i]));
  c_block(p, k->body);
  p->indent = 0;
  text_put(to, "}\n");
}

/* The barrier needs a register class that exists: on x86 only when vectors of that width do. */
static void keep_macro(CPrinter *p, Text *to) {
  const char *c = p->target->barrier, *when = NULL;
  if (p->target->lanes >= 8) when = p->target->lanes == 16 ? "__AVX512F__" : "__AVX__";
  if (!when) when = *c == 'w' ? "__aarch64__" : "__SSE2__";
  text_put(to, "/* Keeps a weight that several lines use in a register: compilers would load it again in each. */\n");
  text_printf(to, "#if defined(__GNUC__) && defined(%s)\n#define LT_KEEP(v) __asm__(\"\" : \"+%s\"(v))\n#else\n"
                  "#define LT_KEEP(v)\n#endif\n\n", when, c);
}

void c_prelude(CPrinter *p, Text *to) {
  if (p->types.len) {
    text_put(to, "/* Vectors, by GCC and Clang's vector extensions; NAME_u: in memory, at any address. */\n");
    text_bytes(to, p->types.at, p->types.len);
    text_put(to, "\n");
  }
  if (p->includes_sleef)
    text_put(to, "#include <sleef.h>                /* exp and its like: link with -lsleef */\n\n");
  if (p->keep) keep_macro(p, to);
  if (p->prefetch)
    text_put(to, "/* Asks for memory that will be used soon: it comes from far away while numbers at hand are multiplied. */\n"
                 "#if defined(__GNUC__)\n#define LT_PREFETCH(p) __builtin_prefetch(p, 0, 2)\n#else\n"
                 "#define LT_PREFETCH(p)\n#endif\n\n");
  c_vecmath_print(p, to);
  if (p->helpers.len) {
    text_printf(to, "#define INLINE static inline%s\n", p->plain ? "" : " __attribute__((always_inline))");
    text_bytes(to, p->helpers.at, p->helpers.len);
    text_put(to, "\n");
  }
}
