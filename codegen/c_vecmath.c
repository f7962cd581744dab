/* Functions of runtime/vecmath.tmpl: collected while kernels print, expanded together before them. */
#include "base/intern.h"
#include "codegen/c.h"
#include "codegen/embed.h"
#include "codegen/vecmath.h"
#include <stdlib.h>

static const char *template_text(void) {
  const EmbedFile *f = embed_find("vecmath.tmpl");
  if (!f) BUG("vecmath.tmpl is not built in");
  return f->text;
}

const char *c_vecmath(CPrinter *p, const char *name, int lanes) {
  const char *f = intern(arena_printf(p->arena, "lt_%s_%d", name, lanes));
  if (!c_once(p, f)) return f;
  if (!vecmath_has(template_text(), name, lanes)) BUG("vecmath.tmpl has no '%s' at %d lanes", name, lanes);
  if (lanes > 1) {
    c_type(p, DT_F32, lanes);
    c_type(p, DT_I32, lanes);
    c_type(p, DT_U32, lanes);
  }
  *vec_push(p->arena, &p->vecmath) = (CVecmathUse){name, lanes};
  return f;
}

void c_vecmath_print(CPrinter *p, Text *to) {
  if (!p->vecmath.len) return;
  VecmathUse *use = NEW_N(p->arena, VecmathUse, p->vecmath.len);
  for (int i = 0; i < p->vecmath.len; i++) use[i] = (VecmathUse){p->vecmath.at[i].name, p->vecmath.at[i].lanes};
  VecmathText out = {0};
  char why[200];
  if (vecmath_expand(&out, template_text(), use, p->vecmath.len, why, sizeof why)) BUG("vecmath: %s", why);
  text_bytes(to, out.data, out.length);
  text_put(to, "\n");
  free(out.data);
}
