/* See lt_trainer.h. Into the run's folder go
 *   last.state    at each epoch's end, every so many steps or seconds, and when a signal ends the run
 *   best.state    when an epoch ends that is better than all before: by the lowest validation loss, or as --best says
 *   log.csv, curves.html, net.lathe
 * Both states hold the run's position and history (lt_run.h) behind the network's block. All that decides the next
 * step is in the block (random, total_steps, lr_scale) or in that position; batches follow from seed and epoch: so a
 * resumed run's bytes are those of a run that never stopped. */
#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700                                      /* POSIX 2008 and realpath */
#endif
#include "lt_trainer.h"
#include "lt_call.h"
#include "lt_loader.h"
#include "lt_memory.h"
#include "lt_progress.h"
#include "lt_run.h"
#include "lt_state.h"
#include "lt_watch.h"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
  WATCH_EVERY = 20,                                            /* steps */
  UNEASY = 3,                                                  /* a loss so many times the epoch's mean is watched */
  ROWS = 1000,                                                 /* of history in a run, about */
  PATH = 4096
};

typedef struct trainer {
  const lt_bundle *b;
  const lt_options *o;
  lt_loader loader;
  lt_run run;
  lt_watch watch;
  lt_call *step, *eval;
  int steps, evals;                                            /* functions of the kinds */
  void *state;
  lt_pool *pool;                     /* NULL: one thread computes */
  lt_compute compute;
  int64_t per_epoch, batch, total, note_every, began;          /* steps; began: the first of this process */
  double since, saved, trained;                                /* trained: seconds of steps in this process */
  int64_t examples;                                            /* rows through the steps in this process */
  int64_t on_disk;                                             /* the step of last.state; -1: there is none */
  int over, log_failed;                                        /* over: enough epochs, or patience ran out */
  int uneasy;                                                  /* the loss jumped up: the next step is watched */
} trainer;

static volatile sig_atomic_t asked_to_stop;
static void on_signal(int s) { (void)s; asked_to_stop = 1; }

static char why[1000];

static int fail(const trainer *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(const trainer *t, const char *fmt, ...) {
  va_list ap;
  lt_progress_clear();
  fprintf(stderr, "%s: ", t->b->name);
  va_start(ap, fmt);
  vfprintf(stderr, fmt, ap);
  va_end(ap);
  fputc('\n', stderr);
  return -1;
}

static const char *path_of(const trainer *t, const char *file, char path[PATH]) {
  snprintf(path, PATH, "%s/%s", t->o->out, file);
  return path;
}

static int64_t *integers(const trainer *t, const char *name) {
  const lt_state_entry *e = lt_state_find(t->state, name);
  return e ? lt_state_data(t->state, e) : NULL;
}

static float *lr_scale(const trainer *t) {
  const lt_state_entry *e = lt_state_find(t->state, "lr_scale");
  return e ? lt_state_data(t->state, e) : NULL;
}

static int64_t seed_of(const trainer *t) { return integers(t, "random")[1]; }

/* ---- saving ---- */

static int make_folder(const char *path) {
  char part[PATH];
  size_t n;
  for (n = 1; n <= strlen(path) && n < sizeof part; n++)
    if (path[n] == '/' || !path[n]) {
      memcpy(part, path, n);
      part[n] = 0;
      if (mkdir(part, 0777) && errno != EEXIST) return -1;
    }
  return 0;
}

/* A new run in the folder of an old one: what the old one reached stays, under another name. */
static void keep_old(const trainer *t, const char *file) {
  char from[PATH], to[PATH + 8];
  snprintf(to, sizeof to, "%s.old", path_of(t, file, from));
  if (!rename(from, to)) lt_progress_say("%s of an earlier run is now %s", from, to);
}

static double seconds(const trainer *t) { return t->since + lt_now(); }

/* log.csv and curves.html are for people: a failure is said once and stops nothing. */
static void write_logs(trainer *t, int live) {
  char path[PATH];
  int bad = lt_run_csv(&t->run, path_of(t, "log.csv", path), why, sizeof why);
  if (!bad && t->o->html)
    bad = lt_run_curves(&t->run, t->b->name, live, path_of(t, "curves.html", path), why, sizeof why);
  if (bad && !t->log_failed) lt_progress_warn(why);
  t->log_failed = bad;
}

static int save(trainer *t, const char *file) {
  char path[PATH];
  size_t n = 0;
  const char *broken = lt_watch_broken(t->b, t->state);
  char *text;
  int bad;
  if (broken) return fail(t, "step %lld: '%s' is no longer finite; not saved", (long long)t->run.step, broken);
  t->run.seconds = seconds(t);
  text = lt_run_text(&t->run, &n);
  if (!text) return fail(t, "no memory for a checkpoint");
  bad = lt_state_save(path_of(t, file, path), t->state, t->b->state_bytes, text, n, why, sizeof why);
  free(text);
  t->saved = lt_now();
  return bad ? fail(t, "%s; the checkpoint before it is as it was", why) : 0;
}

static int save_last(trainer *t, int live) {
  if (save(t, "last.state")) return -1;
  t->on_disk = t->run.step;
  write_logs(t, live);
  return 0;
}

/* Where the data's folder stands in the first line of the text, "# from /a/net.lathe, data in /b"; NULL: it has no such
 * line, which lathe writes so that the copy of the text beside checkpoints is of use (driver/bundle.c). */
static const char *data_folder(const char *text, const char *end) {
  static const char in[] = ", data in ";
  const char *found = NULL, *s = text;
  if (!end || strncmp(text, "# from /", 8)) return NULL;
  while ((s = strstr(s, in)) && s < end) found = s += sizeof in - 1;
  return found;
}

static int copy_source(const trainer *t) {
  char path[PATH], *here;
  const char *text = t->b->source, *end = text ? strchr(text, '\n') : NULL, *folder;
  lt_piece piece[3];
  int bad;
  if (!text) return 0;
  folder = data_folder(text, end);
  here = folder ? realpath(t->o->data_dir ? t->o->data_dir : ".", NULL) : NULL;
  piece[0].at = text;
  piece[0].n = here ? (size_t)(folder - text) : strlen(text);
  piece[1].at = here;
  piece[1].n = here ? strlen(here) : 0;
  piece[2].at = end;
  piece[2].n = here ? strlen(end) : 0;
  bad = lt_replace_file(path_of(t, "net.lathe", path), piece, here ? 3 : 1, 0, why, sizeof why);
  free(here);
  return bad ? fail(t, "%s", why) : 0;
}

/* ---- beginning ---- */

static int add_metric(trainer *t, const char *prefix, const lt_call *c, int several, int k) {
  lt_run *r = &t->run;
  if (r->metrics == LT_METRICS) return fail(t, "more than %d losses and reports", LT_METRICS);
  snprintf(r->name[r->metrics++], LT_METRIC_NAME, "%s%s%s%s", prefix, several ? c->f->name : "", several ? "." : "",
           c->f->out[k].name);
  return 0;
}

static int open_calls(trainer *t) {
  const lt_bundle *b = t->b;
  int f, k;
  t->step = calloc((size_t)b->functions + 1, sizeof *t->step);
  t->eval = calloc((size_t)b->functions + 1, sizeof *t->eval);
  if (!t->step || !t->eval) return fail(t, "no memory");
  for (f = 0; f < b->functions; f++) {
    lt_function_kind kind = b->function[f]->kind;
    lt_call *c = kind == LT_STEP ? &t->step[t->steps] : &t->eval[t->evals];
    if (kind != LT_STEP && kind != LT_EVAL) continue;
    if (lt_call_open(c, b, b->function[f], why, sizeof why)) return fail(t, "%s", why);
    if (kind == LT_STEP) t->steps++;
    else t->evals++;
  }
  if (!t->steps) return fail(t, "the text has no training step");
  for (f = 0; f < t->steps; f++)
    for (k = 0; k < t->step[f].f->outputs; k++)
      if (lt_call_is_scalar(&t->step[f], k) && add_metric(t, "", &t->step[f], t->steps > 1, k)) return -1;
  t->run.trains = t->run.metrics;
  for (f = 0; f < t->evals && b->hold_out > 0; f++)
    for (k = 0; k < t->eval[f].f->outputs; k++)
      if (lt_call_is_scalar(&t->eval[f], k) && add_metric(t, "val_", &t->eval[f], t->evals > 1, k)) return -1;
  return 0;
}

static int init_state(trainer *t) {
  const lt_bundle *b = t->b;
  int64_t seed[1];
  const void *in[1];
  int f, code;
  seed[0] = t->o->seed >= 0 ? t->o->seed : 1;
  in[0] = seed;
  if (!(t->state = lt_alloc(b->state_bytes)))
    return fail(t, "no memory for %zu bytes of state", b->state_bytes);
  for (f = 0; f < b->functions && b->function[f]->kind != LT_INIT; f++) continue;
  if (f == b->functions) return fail(t, "the bundle has no init");
  code = b->function[f]->run(t->state, NULL, NULL, in, NULL);
  if (code) return fail(t, "init: %s", b->function[f]->error(code));
  if (lt_state_check(t->state, b->state_bytes, why, sizeof why)) return fail(t, "what init made %s", why);
  if (lt_state_layout(t->state) != b->layout || !integers(t, "random"))
    return fail(t, "init and the bundle do not belong together");
  integers(t, "random")[0] = 0;
  integers(t, "random")[1] = seed[0];
  if (lr_scale(t)) *lr_scale(t) = 1;
  return 0;
}

static int resume(trainer *t) {
  lt_state s;
  int bad = -1;
  if (t->o->seed >= 0) return fail(t, "--seed and --resume exclude each other: the checkpoint has its seed");
  if (t->o->weights) return fail(t, "--weights and --resume exclude each other: the checkpoint has its tensors");
  if (lt_state_load(t->o->resume, &s, why, sizeof why)) return fail(t, "%s", why);
  if (lt_state_same(s.block, t->state, t->o->resume, why, sizeof why)) fail(t, "%s", why);
  else if (s.bytes != t->b->state_bytes) fail(t, "%s is damaged: its block has another size", t->o->resume);
  else if (!s.own) fail(t, "%s has no position to go on from; --weights begins with its tensors", t->o->resume);
  else if (lt_run_read(&t->run, s.own, s.own_bytes, why, sizeof why)) fail(t, "%s %s", t->o->resume, why);
  else bad = 0;
  if (!bad) memcpy(t->state, s.block, t->b->state_bytes);
  lt_state_free(&s);
  return bad;
}

static int is_learned(const lt_state_entry *e) {
  return e->role == LT_PARAMETER || e->role == LT_STATISTIC || e->role == LT_AVERAGE;
}

static int take_weights(trainer *t) {
  lt_state s;
  int k, taken = 0, learned = 0;
  if (lt_state_load(t->o->weights, &s, why, sizeof why)) return fail(t, "%s", why);
  for (k = 0; k < lt_state_tensors(t->state); k++) {
    const lt_state_entry *to = lt_state_at(t->state, k), *from = lt_state_find(s.block, to->name);
    if (!is_learned(to)) continue;
    learned++;
    if (!from || strcmp(from->dtype, to->dtype) || from->rank != to->rank) continue;
    if (memcmp(from->dims, to->dims, sizeof to->dims)) continue;
    memcpy(lt_state_data(t->state, to), lt_state_data(s.block, from), (size_t)to->bytes);
    taken++;
  }
  lt_state_free(&s);
  if (!taken) return fail(t, "%s has no tensor of this network's names and shapes", t->o->weights);
  lt_progress_say("%d of %d tensors are from %s", taken, learned, t->o->weights);
  return 0;
}

/* Which epoch is best. Where several steps train, against each other perhaps, no loss says it: the newest. */
static int choose_judge(trainer *t) {
  lt_run *r = &t->run;
  const char *name = t->o->best;
  int64_t judge = name ? 0 : r->judge, highest = name ? *name == '+' : r->highest;
  int k;
  if (!name && !t->o->resume && t->steps == 1) judge = 1 + (r->trains < r->metrics ? r->trains : 0);
  for (k = 0; name && k < r->metrics; k++)
    if (!strcmp(name + highest, r->name[k])) judge = 1 + k;
  if (name && !judge && strcmp(name, "last")) {
    fail(t, "--best: nothing called '%s' is measured; these are, and last:", name + highest);
    for (k = 0; k < r->metrics; k++) fprintf(stderr, "  %s\n", r->name[k]);
    return -1;
  }
  if (!judge && t->o->patience > 0) return fail(t, "--patience wants --best NAME: nothing says which epoch is better");
  if (judge != r->judge || highest != r->highest) r->best = HUGE_VAL;
  r->judge = judge;
  r->highest = highest;
  return 0;
}

/* How long the run is. Schedules count what "random" counts: steps of every step function. */
static int plan(trainer *t) {
  const lt_options *o = t->o;
  lt_run *r = &t->run;
  int64_t *total = integers(t, "total_steps");
  int f, given = o->epochs > 0 || o->steps > 0 || !r->epochs;
  t->batch = t->b->batch < t->loader.trains ? t->b->batch : t->loader.trains;
  for (f = 0; f < t->steps; f++)
    if (!lt_call_takes(&t->step[f], t->batch))
      return fail(t, "%s was not compiled for batches of %lld rows%s", t->step[f].f->name, (long long)t->batch,
                  t->batch < t->b->batch ? ", and the data has no more" : "");
  t->per_epoch = t->loader.trains / t->batch;
  if (given) {
    r->steps = o->steps > 0 ? o->steps : 0;
    r->epochs = o->epochs > 0 ? o->epochs : t->b->epochs > 0 ? t->b->epochs : 10;
    if (r->steps) r->epochs = (r->steps + t->per_epoch - 1) / t->per_epoch;
  }
  if (r->epochs > INT64_MAX / 4 / t->per_epoch / t->steps)
    return fail(t, "%lld epochs are too many", (long long)r->epochs);
  if (r->batch > t->per_epoch) r->batch = t->per_epoch;        /* resumed with less data */
  t->total = r->steps ? r->steps : r->epochs * t->per_epoch;
  if (given && total) *total = t->total * t->steps;
  t->note_every = t->total / ROWS + 1;
  if (o->lr >= 0 && !lr_scale(t)) return fail(t, "--lr: no step of this text has a learning rate");
  if (o->lr >= 0) *lr_scale(t) = (float)(t->b->lr > 0 ? o->lr / t->b->lr : o->lr);
  t->over = r->step >= t->total;
  if (t->over)
    lt_progress_say("the run is over: %lld of %lld steps are done; --epochs makes it longer", (long long)r->step,
                    (long long)t->total);
  return 0;
}

static int begin(trainer *t) {
  lt_progress_open(t->o->quiet);
  if (open_calls(t)) return -1;
  if (lt_loader_open(&t->loader, t->b, t->o->call, t->o->data_dir, why, sizeof why)) return fail(t, "%s", why);
  t->run.best = HUGE_VAL;
  if (init_state(t) || (t->o->resume && resume(t)) || (t->o->weights && take_weights(t))) return -1;
  if (lt_loader_split(&t->loader, seed_of(t), why, sizeof why)) return fail(t, "%s", why);
  if (choose_judge(t) || plan(t)) return -1;
  if (lt_watch_open(&t->watch, t->b)) return fail(t, "no memory");
  if (make_folder(t->o->out)) return fail(t, "cannot make the folder %s: %s", t->o->out, strerror(errno));
  if (!t->o->resume) { keep_old(t, "last.state"); keep_old(t, "best.state"); }
  t->began = t->run.step;
  t->on_disk = t->o->resume ? t->run.step : -1;
  t->saved = lt_now();
  t->since = t->run.seconds - lt_now();
  return copy_source(t);
}

/* ---- one step ---- */

/* The first row of the batch that holds a value which is not finite: "data 'x': t.csv, line 3". */
static int find_broken_row(const trainer *t, const lt_batch *batch, char *text, size_t n) {
  int k;
  int64_t i, e;
  for (k = 0; k < t->b->columns; k++) {
    const lt_data *d = &t->loader.data[k];
    lt_tensor v;
    if (!d->reader || !lt_is_float(d->dtype)) continue;
    memset(&v, 0, sizeof v);
    snprintf(v.dtype, sizeof v.dtype, "%s", d->dtype);
    v.elem_bytes = d->elem_bytes;
    v.count = (int64_t)d->row_bytes / d->elem_bytes;
    for (i = 0; i < batch->n; i++) {
      v.data = (char *)batch->column[k] + (size_t)i * d->row_bytes;
      for (e = 0; e < v.count; e++)
        if (lt_get(&v, e) - lt_get(&v, e) != 0) {
          char where[400];
          lt_data_where(d, batch->row[i], where, sizeof where);
          snprintf(text, n, "data '%s': %s", t->b->column[k].name, where);
          return 1;
        }
    }
  }
  return 0;
}

static int not_finite(trainer *t, const lt_call *c, const lt_batch *batch) {
  char row[600], rest[400] = "no checkpoint had been written";
  const char *tensor = lt_watch_broken(t->b, t->state);
  if (t->on_disk >= 0)
    snprintf(rest, sizeof rest, "%.300s/last.state is from step %lld", t->o->out, (long long)t->on_disk);
  fail(t, "step %lld: the loss of %s is not finite", (long long)t->run.step + (c->f->kind == LT_STEP), c->f->name);
  if (find_broken_row(t, batch, row, sizeof row)) fprintf(stderr, "  a value of its batch is not finite: %s\n", row);
  else fprintf(stderr, "  its data is finite; a smaller --lr, or clipping, may help\n");
  if (tensor) fprintf(stderr, "  first tensor that is not finite: %s\n", tensor);
  fprintf(stderr, "  %s\n", rest);
  return -1;
}

static int train_batch(trainer *t, const lt_batch *batch) {
  lt_run *r = &t->run;
  int watched = r->step % WATCH_EVERY == 0 || t->uneasy, f, k, m = 0;
  if (watched) lt_watch_before(&t->watch, t->state);
  for (f = 0; f < t->steps; f++) {
    lt_call *c = &t->step[f];
    if (lt_call_run(c, t->state, &t->compute, batch->column, batch->n, why, sizeof why))
      return fail(t, "%s", why);
    for (k = 0; k < c->f->outputs; k++) {
      double v;
      if (!lt_call_is_scalar(c, k)) continue;
      v = lt_call_scalar(c, k);
      if (k == 0 && v - v != 0) return not_finite(t, c, batch);
      if (k == 0 && f == 0) t->uneasy = r->wholes && v > UNEASY * r->whole[0] / (double)r->wholes;
      r->recent[m] += v;
      r->whole[m++] += v;
    }
  }
  t->examples += batch->n;
  r->recents++;
  r->wholes++;
  r->step++;
  r->batch++;
  if (watched) lt_watch_after(&t->watch, t->state, r->step, lt_progress_warn);
  return 0;
}

/* ---- an epoch ---- */

static int note(trainer *t, const double *held) {
  t->run.seconds = seconds(t);
  return lt_run_note(&t->run, lr_scale(t) ? (double)*lr_scale(t) : 1, held) ? fail(t, "no memory") : 0;
}

/* Means over the held-out rows, weighted by rows, to held[metrics - trains]. 1: measured; 0: nothing to measure. */
static int validate(trainer *t, double *held) {
  lt_batch batch = {NULL, NULL, 0};
  int64_t rows = 0;
  int got = 0, f, k, m;
  if (t->run.metrics == t->run.trains || !t->loader.helds) return 0;
  memset(held, 0, sizeof *held * LT_METRICS);
  if (lt_loader_start(&t->loader, t->loader.held, t->loader.helds, t->b->batch, why, sizeof why))
    return fail(t, "%s", why);
  while ((got = lt_loader_next(&t->loader, &batch, why, sizeof why)) > 0) {
    int taken = 1;
    for (f = 0; f < t->evals; f++) taken = taken && lt_call_takes(&t->eval[f], batch.n);
    if (!taken) continue;                                      /* the rest, where the batch size is compiled in */
    for (f = 0, m = 0; f < t->evals; f++) {
      lt_call *c = &t->eval[f];
      if (lt_call_run(c, t->state, &t->compute, batch.column, batch.n, why, sizeof why))
        return fail(t, "%s", why);
      for (k = 0; k < c->f->outputs; k++)
        if (lt_call_is_scalar(c, k)) held[m++] += lt_call_scalar(c, k) * (double)batch.n;
      if (held[0] - held[0] != 0) return not_finite(t, c, &batch);
    }
    rows += batch.n;
  }
  lt_loader_stop(&t->loader);
  if (got < 0) return fail(t, "%s", why);
  for (m = 0; rows && m < t->run.metrics - t->run.trains; m++) held[m] /= (double)rows;
  return rows > 0;
}

static double speed(const trainer *t) { return t->trained > 0 ? (double)t->examples / t->trained : 0; }

/* Lower is better. What could not be measured on held-out rows is measured by the training loss. */
static double score(const lt_run *r, const double *held) {
  int64_t k = r->judge - 1;
  double v = r->wholes ? r->whole[0] / (double)r->wholes : HUGE_VAL;
  if (k < 0) return -(double)r->step;
  if (k < r->trains) v = r->wholes ? r->whole[k] / (double)r->wholes : HUGE_VAL;
  else if (held) v = held[k - r->trains];
  return r->highest ? -v : v;
}

static int end_epoch(trainer *t) {
  lt_run *r = &t->run;
  double held[LT_METRICS], now;
  int measured = validate(t, held), better, k;
  char remark[100] = "";
  if (measured < 0) return -1;
  now = score(r, measured ? held : NULL);
  if (r->batch >= t->per_epoch) { r->epoch++; r->batch = 0; }
  better = now < r->best;
  r->worse = better ? 0 : r->worse + 1;
  if (better) r->best = now;
  if (better && r->judge) snprintf(remark, sizeof remark, "best");
  if (note(t, measured ? held : NULL)) return -1;
  lt_progress_epoch(r, measured ? held : NULL, speed(t), remark);
  for (k = 0; k < r->metrics; k++) r->whole[k] = 0;
  r->wholes = 0;
  t->over = r->step >= t->total || (t->o->patience > 0 && r->worse >= t->o->patience);
  if (r->step < t->total && t->over)
    lt_progress_say("no better %s for %lld epochs: stopped early", r->name[r->judge - 1], (long long)r->worse);
  if (better && save(t, "best.state")) return -1;
  return save_last(t, !t->over);
}

static int save_is_due(const trainer *t) {
  if (t->o->save_steps > 0 && t->run.step % t->o->save_steps == 0) return 1;
  return lt_now() - t->saved > t->o->save_seconds;
}

static int run_epoch(trainer *t) {
  lt_run *r = &t->run;
  lt_batch batch = {NULL, NULL, 0};
  int64_t from = r->batch * t->batch;
  double since = lt_now(), now;
  int got = 0, within;
  lt_loader_shuffle(&t->loader, seed_of(t), r->epoch);
  if (lt_loader_start(&t->loader, t->loader.order + from, t->per_epoch * t->batch - from, t->batch, why, sizeof why))
    return fail(t, "%s", why);
  while (r->step < t->total && !asked_to_stop && (got = lt_loader_next(&t->loader, &batch, why, sizeof why)) > 0) {
    if (train_batch(t, &batch)) return -1;
    now = lt_now();
    t->trained += now - since;                                 /* waiting for data included */
    since = now;
    within = r->batch < t->per_epoch && r->step < t->total;    /* at the end end_epoch notes and saves */
    if (within && r->step % t->note_every == 0 && note(t, NULL)) return -1;
    lt_progress_bar(r, t->per_epoch, speed(t),
                    t->trained / (double)(r->step - t->began) * (double)(t->total - r->step));
    if (within && save_is_due(t) && save_last(t, 1)) return -1;
  }
  lt_loader_stop(&t->loader);
  if (got < 0) return fail(t, "%s", why);
  if (r->batch >= t->per_epoch || r->step >= t->total) return end_epoch(t);
  return save_last(t, 0);                                      /* asked to stop within the epoch */
}

static void close_all(trainer *t) {
  int k;
  if (t->loader.bundle) lt_loader_close(&t->loader);
  for (k = 0; t->step && k < t->b->functions; k++) if (t->step[k].f) lt_call_close(&t->step[k]);
  for (k = 0; t->eval && k < t->b->functions; k++) if (t->eval[k].f) lt_call_close(&t->eval[k]);
  lt_watch_close(&t->watch);
  lt_run_free(&t->run);
  free(t->step);
  free(t->eval);
  free(t->state);
  free(t->compute.arena);
  lt_pool_close(t->pool);
}

static void open_pool(trainer *t) {
  int k, parallel = 0;
  for (k = 0; k < t->b->functions; k++) parallel |= t->b->function[k]->run_parallel != NULL;
  if (!parallel || t->o->threads == 1) return;
  t->pool = lt_pool_open(t->o->threads < 0 ? 0 : (int)t->o->threads);      /* NULL: then by this thread */
  t->compute.pool = t->pool;
}

int lt_trainer_run(const lt_bundle *b, const lt_options *o) {
  trainer t;
  struct sigaction stop;
  int bad;
  memset(&t, 0, sizeof t);
  t.b = b;
  t.o = o;
  memset(&stop, 0, sizeof stop);
  stop.sa_handler = on_signal;
  stop.sa_flags = (int)SA_RESETHAND;                           /* a second signal ends the process at once */
  sigaction(SIGINT, &stop, NULL);
  sigaction(SIGTERM, &stop, NULL);
  signal(SIGXFSZ, SIG_IGN);                                    /* a file limit: an error of write, not the end */
  open_pool(&t);
  bad = begin(&t);
  if (!bad && !t.over)
    lt_progress_say("%s: %lld rows to train on, %lld held out, %lld steps of %lld rows, seed %lld", b->name,
                    (long long)t.loader.trains,
                    (long long)t.loader.helds, (long long)t.total, (long long)t.batch, (long long)seed_of(&t));
  while (!bad && !t.over && !asked_to_stop) bad = run_epoch(&t);
  if (!bad && asked_to_stop && !t.over)
    lt_progress_say("stopped at step %lld; --resume goes on from %s/last.state", (long long)t.run.step, o->out);
  bad = bad ? 1 : asked_to_stop && !t.over ? 130 : 0;
  close_all(&t);
  return bad;
}
