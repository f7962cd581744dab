/* See lt_run.h. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "lt_run.h"
#include "lt_state.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void lt_text_add(lt_text *t, const char *fmt, ...) {
  va_list ap;
  int n;
  va_start(ap, fmt);
  n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if (n < 0 || t->bad) return;
  if (t->n + (size_t)n + 1 > t->room) {
    size_t room = 2 * (t->n + (size_t)n) + 1000;
    char *more = realloc(t->at, room);
    if (!more) { t->bad = 1; return; }
    t->at = more;
    t->room = room;
  }
  va_start(ap, fmt);
  vsnprintf(t->at + t->n, t->room - t->n, fmt, ap);
  va_end(ap);
  t->n += (size_t)n;
}

int lt_text_save(lt_text *t, const char *path, char *why, size_t why_len) {
  lt_piece piece;
  int bad = -1;
  piece.at = t->at;
  piece.n = t->n;
  if (t->bad) snprintf(why, why_len, "no memory");
  else bad = lt_replace_file(path, &piece, 1, 0, why, why_len);
  free(t->at);
  return bad;
}

static size_t width(const lt_run *r) { return (size_t)(LT_ROW + r->metrics); }

static double *new_row(lt_run *r) {
  if (r->rows == r->room) {
    int64_t room = 2 * r->room + 256;
    double *more = realloc(r->history, (size_t)room * width(r) * sizeof *more);
    if (!more) return NULL;
    r->history = more;
    r->room = room;
  }
  return r->history + (size_t)r->rows++ * width(r);
}

int lt_run_note(lt_run *r, double lr_scale, const double *held) {
  double *row = new_row(r);
  int k;
  if (!row) return -1;
  row[0] = (double)r->step;
  row[1] = (double)r->epoch;
  row[2] = r->seconds;
  row[3] = lr_scale;
  for (k = 0; k < r->metrics; k++) {
    if (k < r->trains) row[LT_ROW + k] = r->recents ? r->recent[k] / (double)r->recents : NAN;
    else row[LT_ROW + k] = held ? held[k - r->trains] : NAN;
    r->recent[k] = 0;
  }
  r->recents = 0;
  return 0;
}

void lt_run_free(lt_run *r) { free(r->history); memset(r, 0, sizeof *r); }

/* ---- behind the block of a checkpoint ---- */

char *lt_run_text(const lt_run *r, size_t *n) {
  lt_text t = {NULL, 0, 0, 0};
  int64_t i;
  int k;
  lt_text_add(&t, "\nlathe trainer 2\nepoch %lld batch %lld step %lld\n"
              "epochs %lld steps %lld\njudge %lld highest %lld worse %lld best %a seconds %a\n",
              (long long)r->epoch, (long long)r->batch, (long long)r->step, (long long)r->epochs, (long long)r->steps,
              (long long)r->judge, (long long)r->highest, (long long)r->worse, r->best, r->seconds);
  lt_text_add(&t, "recent %lld whole %lld metrics %d rows %lld\n", (long long)r->recents, (long long)r->wholes,
              r->metrics, (long long)r->rows);
  for (k = 0; k < r->metrics; k++) lt_text_add(&t, "%s %a %a\n", r->name[k], r->recent[k], r->whole[k]);
  for (i = 0; i < r->rows * (int64_t)width(r); i++)
    lt_text_add(&t, "%a%s", r->history[i], (i + 1) % (int64_t)width(r) ? " " : "\n");
  if (t.bad) { free(t.at); return NULL; }
  *n = t.n;
  return t.at;
}

typedef struct reader { const char *at; int bad; } reader;

static void word(reader *s, const char *expected) {
  size_t n = strlen(expected);
  s->at += strspn(s->at, " \n");
  if (s->bad || strncmp(s->at, expected, n) || !strchr(" \n", s->at[n])) s->bad = 1;
  else s->at += n;
}

static double number(reader *s, const char *name) {
  char *end;
  double v;
  if (name) word(s, name);
  if (s->bad) return 0;
  v = strtod(s->at, &end);
  if (end == s->at) s->bad = 1;
  s->at = end;
  return v;
}

static int64_t integer(reader *s, const char *name) {
  double v = number(s, name);
  if (!(v >= 0 && v < 9e15)) { s->bad = 1; v = 0; }
  return (int64_t)v;
}

static void read_run(lt_run *r, reader *s, size_t n) {
  int64_t rows, i;
  int k;
  word(s, "lathe"); word(s, "trainer"); word(s, "2");
  r->epoch = integer(s, "epoch");
  r->batch = integer(s, "batch");
  r->step = integer(s, "step");
  r->epochs = integer(s, "epochs");
  r->steps = integer(s, "steps");
  r->judge = integer(s, "judge");
  r->highest = integer(s, "highest");
  r->worse = integer(s, "worse");
  r->best = number(s, "best");
  r->seconds = number(s, "seconds");
  r->recents = integer(s, "recent");
  r->wholes = integer(s, "whole");
  if (integer(s, "metrics") != r->metrics || r->judge > r->metrics) s->bad = 1;
  rows = integer(s, "rows");
  for (k = 0; k < r->metrics; k++) {
    r->recent[k] = number(s, r->name[k]);
    r->whole[k] = number(s, NULL);
  }
  if (rows > (int64_t)n) s->bad = 1;
  for (r->rows = 0; !s->bad && r->rows < rows;) {
    double *row = new_row(r);
    if (!row) s->bad = 1;
    for (i = 0; !s->bad && i < (int64_t)width(r); i++) row[i] = number(s, NULL);
  }
}

int lt_run_read(lt_run *r, const char *text, size_t n, char *why, size_t why_len) {
  reader s;
  char *copy = malloc(n + 1);                                  /* with a zero behind it */
  if (!copy) { snprintf(why, why_len, "no memory"); return -1; }
  memcpy(copy, text, n);
  copy[n] = 0;
  s.at = copy;
  s.bad = 0;
  read_run(r, &s, n);
  free(copy);
  if (!s.bad) return 0;
  snprintf(why, why_len, "has no position of a trainer that reports the same");
  return -1;
}

/* ---- log.csv ---- */

int lt_run_csv(const lt_run *r, const char *path, char *why, size_t why_len) {
  lt_text t = {NULL, 0, 0, 0};
  int64_t i;
  size_t k;
  lt_text_add(&t, "step,epoch,seconds,lr_scale");
  for (k = 0; k < (size_t)r->metrics; k++) lt_text_add(&t, ",%s", r->name[k]);
  lt_text_add(&t, "\n");
  for (i = 0; i < r->rows; i++) {
    const double *row = r->history + (size_t)i * width(r);
    lt_text_add(&t, "%.0f,%.0f,%.3f", row[0], row[1], row[2]);
    for (k = 3; k < width(r); k++) {
      if (row[k] == row[k]) lt_text_add(&t, ",%.7g", row[k]);
      else lt_text_add(&t, ",");                               /* not measured then */
    }
    lt_text_add(&t, "\n");
  }
  return lt_text_save(&t, path, why, why_len);
}
