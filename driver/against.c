/* `lathe bench MODEL… --against PEER,…`: the time of a call beside that of other runtimes.
 *
 * Of each model: lathe's code is compiled and run, its evaluator computes the outputs in f64 (or f32, where an op knows
 * no other type), the peers compute theirs on the same inputs. Then all take turns, pinned to the same cores, the order
 * turned round each time, so that what the machine does meanwhile meets everyone alike. The samples of all turns make
 * one median. A peer that is off by more than 1e-4 is measured again in its exact setting, where it has one. */
#include "driver/against.h"
#include "codegen/embed.h"
#include "driver/bench.h"
#include "passes/pipeline.h"
#include "passes/retype.h"
#include "runtime/lt_file.h"
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static const struct PeerInfo { const char *name; bool has_exact; } peer_info[] = {
  {"onnxruntime", false}, {"openvino", false}, {"torch", false}, {"ncnn", true}, {"mnn", true},
};
enum { PEERS = sizeof peer_info / sizeof *peer_info };

/* What one model needs while it is compared. */
typedef struct Bout {
  Against *g;
  Options o;                         /* of this model */
  const char *path, *dir;
  Ports ports;
  Compiled c;
  Loaded l;
  Call call;
  Case x;
  const Tensor **want;               /* NULL: no reference */
  int calls;                         /* of lathe in a sample */
  Match *match;
} Bout;

/* ---- inputs and lathe's own outputs ---- */

static const char *npz_beside(Arena *a, const char *model) {
  const char *path = arena_printf(a, "%.*s.npz", (int)(strlen(model) - strlen(".onnx")), model);
  return access(path, R_OK) == 0 ? path : NULL;
}

static const char *base_name(const char *path) {
  const char *s = strrchr(path, '/');
  return s ? s + 1 : path;
}

static bool bout_compile(Bout *b) {
  Arena *a = &b->g->arena;
  Diags early = {.file = b->path};
  Strings sets = {0};
  const char *npz = b->o.data.len ? NULL : npz_beside(a, b->path);
  bool ok = model_tune(b->path, &b->o) && ports_find(&b->ports, a, b->path, &early);
  if (ok && b->o.data.len)
    ok = data_sets(a, b->o.data.at[0], &sets, &early) && ports_load(&b->ports, a, sets.at[0], &early);
  if (ok && npz) ok = ports_load_npz(&b->ports, a, npz, &early);
  diags_print(&early, stderr);
  diags_free(&early);
  if (!ok) return false;
  const char *from = npz ? npz : sets.len ? sets.at[0] : NULL;
  b->match->inputs = from ? base_name(from) : arena_printf(a, "random, seed %.0f", b->o.seed);
  if (from) {
    b->o.ports = &b->ports;
    b->o.quiet = true;
    bool compiled = model_compile_ports(&b->c, b->path, &b->o, &b->ports);
    b->o.quiet = false;
    if (!compiled) return false;
    return case_of_data(&b->c, &b->ports, from, &b->x);
  }
  if (!model_compile(&b->c, b->path, &b->o)) return false;
  b->x = case_random(&b->c, (uint64_t)b->o.seed, SIZES_LOW, NULL);
  return true;
}

/* The evaluator's outputs, from a fresh import whose f32 is f64. */
static bool reference_in(Bout *b, DType type) {
  Compiled ref;
  if (!model_import(&ref, b->path, &b->o)) return false;
  bool ok = (type == DT_F32 || module_retype(ref.m, DT_F32, type)) && module_expand(ref.m, EXPAND_ALL);
  const Tensor **out = NEW_N(&b->g->arena, const Tensor *, ref.m->main->outputs.len + 1);
  const Tensor *const *in = b->x.in;
  if (type == DT_F64) in = (const Tensor *const *)case_in_double(&ref.arena, &b->x, ref.m->main->inputs.len);
  ok = ok && case_evaluate(ref.m, in, out, &b->g->arena);
  if (ok) b->want = out;
  compiled_drop(&ref);
  return ok;
}

static double tensor_error(const Tensor *got, const Tensor *want) {
  double worst = 0, largest = 0;
  for (int64_t i = 0, n = tensor_count(want); i < n; i++) {
    double w = tensor_get(want, i), g = tensor_get(got, i), e = fabs(g - w);
    if (isfinite(w) && fabs(w) > largest) largest = fabs(w);
    if (g == w || (isnan(g) && isnan(w))) continue;
    if (!(e <= worst)) worst = isnan(e) ? HUGE_VAL : e;
  }
  return largest > 0 ? worst / largest : worst;
}

static bool lathe_begin(Bout *b) {
  Match *x = b->match;
  if (!model_load(&b->l, &b->c, &b->o) || !call_make(&b->call, &b->c, &b->l, &b->x)) return false;
  if (!call_run(&b->call, &b->c, 0xFF)) return false;
  x->lathe.error = b->want ? 0 : -1;
  for (int k = 0; b->want && k < b->call.m->outputs; k++) {
    const Tensor *got = call_output(&b->call, &b->c, k);
    double e = tensor_count(got) == tensor_count(b->want[k]) ? tensor_error(got, b->want[k]) : HUGE_VAL;
    if (e > x->lathe.error) x->lathe.error = e;
  }
  return true;
}

/* ---- what peers read and wrote ---- */

static bool save_array(const char *path, const Tensor *t, Diags *d) {
  lt_tensor f = {.elem_bytes = dtype_bytes(t->dtype), .rank = t->rank, .count = tensor_count(t), .data = t->data};
  char why[300];
  snprintf(f.dtype, sizeof f.dtype, "%s", dtype_info[t->dtype].text);
  for (int k = 0; k < t->rank; k++) f.dims[k] = t->dims[k];
  if (!lt_npy_save(path, &f, why, sizeof why)) return true;
  diag_error(d, "io", NULL, "%s", why);
  return false;
}

static const Tensor *input_value(const Bout *b, const Port *p) {
  const Graph *g = b->c.m->main;
  for (int k = 0; k < g->inputs.len; k++)
    if (!strcmp(value_of(b->c.m, g->inputs.at[k])->name, p->name)) return b->x.in[k];
  return p->value;                                             // compiled in
}

static bool save_names(Bout *b, const char *file, const Port *p, int n) {
  Text t = {0};
  char why[300];
  for (int k = 0; k < n; k++) text_printf(&t, "%s\n", p[k].name);
  bool ok = text_save(&t, arena_printf(&b->g->arena, "%s/%s", b->dir, file), why, sizeof why);
  if (!ok) diag_error(&b->c.diags, "io", NULL, "%s", why);
  text_free(&t);
  return ok;
}

static bool save_job(Bout *b) {
  Arena *a = &b->g->arena;
  Diags *d = &b->c.diags;
  char why[300];
  const EmbedFile *script = embed_find("peers.py");
  if (!file_save(script->text, script->size, arena_printf(a, "%s/peers.py", b->dir), why, sizeof why)) {
    diag_error(d, "io", NULL, "%s", why);
    return false;
  }
  for (int k = 0; k < b->ports.nin; k++) {
    const Tensor *t = b->ports.in[k].kind == KIND_TENSOR ? input_value(b, &b->ports.in[k]) : NULL;
    if (!t || t->dtype == DT_STRING) {
      diag_error(d, "usage", NULL, "input '%s' cannot be given to peers: %s", b->ports.in[k].name,
                 t ? "it holds strings" : "--data or MODEL.npz must hold a tensor for it");
      return false;
    }
    if (!save_array(arena_printf(a, "%s/in_%d.npy", b->dir, k), t, d)) return false;
  }
  return save_names(b, "inputs", b->ports.in, b->ports.nin) && save_names(b, "outputs", b->ports.out, b->ports.nout);
}

static void peer_compare(Bout *b, Tool *t) {
  Arena *a = &b->g->arena;
  Diags d = {0};
  t->error = b->want ? 0 : -1;
  for (int k = 0; b->want && k < b->call.m->outputs && !t->peer.why; k++) {
    const char *path = arena_printf(a, "%s/%s.%s/out_%d.npy", b->dir, t->peer.name, t->peer.setting, k);
    const Tensor *got = tensor_of_file(a, path, &d);
    int64_t n = got ? tensor_count(got) : 0, wanted = tensor_count(b->want[k]);
    if (!got) t->peer.why = arena_printf(a, "gave no output %d", k);
    else if (n != wanted) {
      t->peer.why = arena_printf(a, "output %d has %lld elements, not %lld", k, (long long)n, (long long)wanted);
    } else {
      double e = tensor_error(got, b->want[k]);
      if (e > t->error) t->error = e;
    }
  }
  diags_free(&d);
}

static void peers_begin(Bout *b) {
  Against *g = b->g;
  Arena *a = &g->arena;
  size_t n = 0;
  char why[300];
  void *model = lt_read_file(b->path, &n, why, sizeof why);
  unsigned long long key = model ? lt_xxh64(model, n) : 0;
  const char *cache = arena_printf(a, "%s/peers/%016llx", cache_root(a), key);
  free(model);
  make_dirs(cache);
  PeerJob job = {g->python, arena_printf(a, "%s/peers.py", b->dir), b->path, b->dir, cache, g->threads};
  for (int i = 0; i < g->nnames; i++)
    for (int exact = 0; exact < 2; exact++) {
      Tool *t = vec_push(a, &b->match->peers);
      *t = (Tool){.peer = {.name = g->names[i], .setting = exact ? "exact" : "default"}, .error = -1};
      if (peer_start(&t->peer, &job, a)) peer_compare(b, t);
      bool has_exact = false;
      for (int k = 0; k < PEERS; k++) has_exact |= peer_info[k].has_exact && !strcmp(peer_info[k].name, g->names[i]);
      if (t->peer.why || t->error <= most_error || !has_exact) break;
    }
}

/* ---- turns ---- */

static void lathe_sample(Bout *b, int calls, double *wall, double *cpu) {
  Call *k = &b->call;
  double since = seconds_now(), cpu_since = process_cpu_seconds();
  for (int i = 0; i < calls; i++) call_go(k);
  *wall = (seconds_now() - since) * 1e3 / calls;
  *cpu = (process_cpu_seconds() - cpu_since) * 1e3 / calls;
}

/* As many calls to a sample as peers.py takes: those of 2 ms. */
static int lathe_calls(Bout *b) {
  const double sample_ms = 2;
  double wall = 0, cpu;
  for (int i = 0; i < 2; i++) lathe_sample(b, 1, &wall, &cpu);
  if (wall < sample_ms) lathe_sample(b, 1 + (int)(sample_ms / (wall + 1e-6)), &wall, &cpu);
  return wall < sample_ms ? (int)(sample_ms / wall) : 1;
}

static void lathe_run(Bout *b, double seconds) {
  Samples *s = &b->match->lathe.peer.got;
  double end = seconds_now() + seconds;
  for (int n = 0; n < 2 || seconds_now() < end; n++) {
    double *wall = vec_push(&b->g->arena, &s->wall), *cpu = vec_push(&b->g->arena, &s->cpu);
    lathe_sample(b, b->calls, wall, cpu);
  }
}

static void take_turns(Bout *b) {
  Match *x = b->match;
  int rounds = b->g->rounds, n = x->peers.len + 1;
  b->calls = lathe_calls(b);
  for (int r = 0; r < rounds; r++)
    for (int i = 0; i < n; i++) {
      int k = r % 2 ? n - 1 - i : i;
      if (!k) lathe_run(b, b->o.seconds / rounds);
      else peer_run(&x->peers.at[k - 1].peer, b->o.seconds / rounds, &b->g->arena);
    }
}

static void tool_finish(Tool *t, bool cpu) {
  Numbers *own = cpu ? &t->peer.got.cpu : &t->peer.got.wall, *other = cpu ? &t->peer.got.wall : &t->peer.got.cpu;
  if (t->peer.why || !own->len) return;
  t->ms = median_of(own->at, own->len);                        // and sorts
  t->fastest = own->at[0];
  t->q1 = own->at[own->len / 4];
  t->q3 = own->at[own->len - 1 - own->len / 4];
  t->other_ms = median_of(other->at, other->len);
  t->counts = t->error <= most_error;
}

static void match_finish(Match *x, bool cpu) {
  tool_finish(&x->lathe, cpu);
  for (int i = 0; i < x->peers.len; i++) {
    Tool *t = &x->peers.at[i];
    tool_finish(t, cpu);
    if (t->counts && (!x->best || t->ms < x->best->ms)) x->best = t;
  }
}

/* ---- one model, all models ---- */

static bool bout_prepare(Bout *b) {
  if (!bout_compile(b)) return false;
  if (reference_in(b, DT_F64)) b->match->reference = "f64";
  else if (reference_in(b, DT_F32)) b->match->reference = "f32";
  return lathe_begin(b) && save_job(b);
}

static void bout_end(Bout *b) {
  for (int i = 0; i < b->match->peers.len; i++) peer_end(&b->match->peers.at[i].peer);
  if (b->call.m) call_free(&b->call);
  if (b->c.path) compiled_free(&b->c);
  model_unload(&b->l);
  folder_remove(b->dir);
}

static Match *against_model(Against *g, const char *path) {
  char dir[] = "/tmp/lathe-against-XXXXXX";
  Match *x = NEW(&g->arena, Match);
  Bout b = {.g = g, .o = *g->o, .path = path, .match = x};
  const char *file = base_name(path);
  size_t n = strlen(file);
  bool is_onnx = n > 5 && !strcmp(file + n - 5, ".onnx");
  x->model = arena_printf(&g->arena, "%.*s", (int)n - (is_onnx ? 5 : 0), file);
  x->lathe.peer = (Peer){.name = "lathe", .setting = "default"};
  if (!is_onnx) { x->why = "the peers read .onnx only"; return x; }
  if (!mkdtemp(dir)) { x->why = "cannot make a folder in /tmp"; return x; }
  b.dir = dir;
  if (bout_prepare(&b)) {
    cores_pin(g->threads);
    peers_begin(&b);
    take_turns(&b);
    cores_pin(0);
    match_finish(x, g->o->cpu_time);
  } else {
    x->why = "lathe failed, see above";
  }
  bout_end(&b);
  return x;
}

static void peers_of(Against *g, const char *list) {
  VEC(const char *) names = {0};
  Text known = {0};
  for (int k = 0; k < PEERS; k++) text_printf(&known, "%s%s", k ? ", " : "", peer_info[k].name);
  for (const char *s = !strcmp(list, "all") ? known.at : list; *s;) {
    size_t n = strcspn(s, ", ");
    const char *name = arena_printf(&g->arena, "%.*s", (int)n, s);
    bool found = false;
    for (int k = 0; k < PEERS; k++) found |= !strcmp(peer_info[k].name, name);
    if (!found) usage_error("there is no peer '%s'; there are: %s", name, known.at);
    *vec_push(&g->arena, &names) = name;
    s += n + strspn(s + n, ", ");
  }
  text_free(&known);
  g->names = names.at;
  g->nnames = names.len;
}

int against_bench(Options *o) {
  Against g = {.o = o, .threads = o->threads < 1 ? 1 : (int)o->threads, .rounds = o->rounds < 1 ? 1 : (int)o->rounds};
  if (o->layers || o->explain) usage_error("--layers and --explain look into lathe's own kernels: leave out --against");
  const char *python = getenv("LATHE_PYTHON");
  bool ok = true;
  o->want_dims = true;
  peers_of(&g, o->against);
  if (o->cpu_time && g.threads > 1)
    usage_error("--cpu-time compares one thread: of several, some may spin while they wait");
  g.python = o->python ? o->python : python && *python ? python : "python3";
  g.pinned = cores_pin(g.threads);
  cores_pin(0);
  if (!o->json) against_head(&g);
  for (int i = 0; i < o->args.len; i++) {
    Match *x = against_model(&g, o->args.at[i]);
    *vec_push(&g.arena, &g.matches) = x;
    ok &= !x->why && x->lathe.error <= most_error;
    if (!o->json) against_row(&g, x);
  }
  if (o->json) against_json(&g);
  else against_end(&g);
  arena_free(&g.arena);
  return ok ? EXIT_DONE : EXIT_FAILED;
}
