/* See lt_progress.h. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "lt_progress.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BAR = 20, SHOWN = 6 };                                  /* metrics in a line: more would wrap */
static const double REDRAW = 0.1, PLAIN = 10;                  /* seconds between draws */

static struct { int quiet, terminal, drawn; double last; } screen;

double lt_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void lt_progress_open(int quiet) {
  screen.quiet = quiet;
  screen.terminal = isatty(STDOUT_FILENO);
  screen.drawn = 0;
  screen.last = lt_now();
}

void lt_progress_clear(void) {
  if (screen.drawn) fputs("\r\033[K", stdout);
  screen.drawn = 0;
  fflush(stdout);
}

static void print_metric(const char *name, double v) {
  double size = fabs(v);
  if (v != v) printf("  %s nan", name);                         /* printf may say -nan */
  else printf(size == 0 || (size >= 1e-3 && size < 1e4) ? "  %s %.4f" : "  %s %.3e", name, v);
}

static void print_time(double s) {
  long t = (long)(s + 0.5);
  if (t >= 3600) printf("%ld:%02ld:%02ld", t / 3600, t / 60 % 60, t % 60);
  else printf("%ld:%02ld", t / 60, t % 60);
}

static void print_means(const lt_run *r) {
  int k;
  for (k = 0; k < r->trains && k < SHOWN; k++)
    if (r->wholes) print_metric(r->name[k], r->whole[k] / (double)r->wholes);
}

void lt_progress_bar(const lt_run *r, int64_t steps_per_epoch, double speed, double left) {
  double now = lt_now(), share = steps_per_epoch ? (double)r->batch / (double)steps_per_epoch : 1;
  int k, full = (int)(share * BAR);
  if (screen.quiet || now - screen.last < (screen.terminal ? REDRAW : PLAIN)) return;
  screen.last = now;
  if (screen.terminal) fputs("\r\033[K", stdout);
  printf("epoch %lld/%lld ", (long long)r->epoch + 1, (long long)r->epochs);
  if (screen.terminal) {
    putchar('[');
    for (k = 0; k < BAR; k++) putchar(k < full ? '#' : '.');
    putchar(']');
  }
  printf(" %3.0f%%", 100 * share);
  print_means(r);
  printf("  %.0f/s  ", speed);
  print_time(left);
  printf(" left");
  if (!screen.terminal) putchar('\n');
  screen.drawn = screen.terminal;
  fflush(stdout);
}

void lt_progress_epoch(const lt_run *r, const double *held, double speed, const char *remark) {
  int k;
  if (screen.quiet) return;
  lt_progress_clear();
  printf("epoch %lld/%lld", (long long)r->epoch + (r->batch > 0), (long long)r->epochs);      /* > 0: cut short */
  print_means(r);
  for (k = r->trains; held && k < r->metrics && k < r->trains + SHOWN; k++)
    print_metric(r->name[k], held[k - r->trains]);
  printf("  %.0f/s  ", speed);
  print_time(r->seconds);
  printf("%s%s\n", *remark ? "  " : "", remark);
  fflush(stdout);
  screen.last = lt_now();
}

void lt_progress_warn(const char *text) {
  lt_progress_clear();
  fprintf(stderr, "warning: %s\n", text);
}

void lt_progress_say(const char *fmt, ...) {
  va_list ap;
  lt_progress_clear();
  va_start(ap, fmt);
  vprintf(fmt, ap);
  va_end(ap);
  putchar('\n');
  fflush(stdout);
}
