/* `lathe bench --against`: what was measured (against.c), and how it is shown (against_report.c). */
#ifndef DRIVER_AGAINST_H
#define DRIVER_AGAINST_H
#include "driver/peer.h"

static const double most_error = 1e-4;                         /* beyond it a tool's time does not count */

typedef struct Tool {
  Peer peer;                         /* lathe itself has no process */
  double error;                      /* largest difference from the reference / the output's largest value; < 0: none */
  double ms, q1, q3, fastest;        /* of the time that is compared: median, quartiles */
  double other_ms;                   /* the median of the other clock */
  bool counts;
} Tool;

typedef struct Match {               /* one model */
  const char *model, *reference;     /* "f64", "f32": the evaluator's type; NULL: it could not compute */
  const char *inputs;                /* "resnet18.npz", "random, seed 1" */
  const char *why;                   /* lathe failed; NULL: it did not */
  Tool lathe;
  VEC(Tool) peers;                   /* as asked for; an exact setting follows its default */
  const Tool *best;                  /* the fastest that counts */
} Match;
typedef VEC(Match *) Matches;

typedef struct Against {
  const Options *o;
  const char *const *names;          /* of the peers */
  int nnames, threads, rounds;
  int pinned;                        /* cores that it runs on; 0: not pinned */
  const char *python;
  Matches matches;
  Arena arena;
} Against;

double match_ratio(const Match *x);                            /* best peer / lathe by medians; 0: nothing to compare */
double match_ratio_fastest(const Match *x);                    /* by the fastest samples, which other work disturbs least */

void against_head(const Against *g);
void against_row(const Against *g, const Match *x);
void against_end(const Against *g);                            /* notes and the mean */
void against_json(const Against *g);
#endif
