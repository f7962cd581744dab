/* A compiled model as a shared library in this process: for verify and bench. */
#include "driver/driver.h"
#include "runtime/lt_model.h"
#include "runtime/lt_pool.h"
#include <dlfcn.h>

bool model_load(Loaded *l, Compiled *c, const Options *o) {
  EmitFiles files = {0};
  Options bin = *o;
  bin.weights = "bin";
  bin.flat_weights = true;                                     // the kernels read them there
  if (!model_emit(c, &bin, WEIGHTS_BIN, true, &files)) return false;
  EmitFiles code = {0};                                        // the weights stay in this process
  for (int i = 0; i < files.at.len; i++) {
    const EmitFile *f = &files.at.at[i];
    size_t n = strlen(f->name);
    if (n > 4 && !strcmp(f->name + n - 4, ".bin")) l->weights = f->data + 64;
    else *vec_push(&c->arena, &code.at) = *f;
  }
  Toolchain t = toolchain_of(o, c->target, &c->arena);
  double since = seconds_now();
  const char *so = toolchain_cached(&t, &code, "model.so", "", true, &c->arena, &c->diags);
  if (!so) return false;
  phase_time(o, "cc", since);
  l->handle = dlopen(so, RTLD_NOW | RTLD_LOCAL);
  if (!l->handle) { diag_error(&c->diags, "io", NULL, "cannot load the compiled model: %s", dlerror()); return false; }
  l->model = dlsym(l->handle, arena_printf(&c->arena, "lt_model_%s", c->prefix));
  if (!l->model || l->model->version != LT_MODEL_VERSION) {
    diag_error(&c->diags, "internal", NULL, "the compiled model has no table");
    return false;
  }
  if (o->threads <= 1) return true;
  l->pool = lt_pool_open((int)o->threads);
  if (!l->pool) diag_error(&c->diags, "io", NULL, "cannot start %d threads", (int)o->threads);
  return l->pool != NULL;
}

void model_unload(Loaded *l) {
  lt_pool_close(l->pool);
  if (l->handle) dlclose(l->handle);
  *l = (Loaded){0};
}
