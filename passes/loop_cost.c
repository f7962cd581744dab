/* See loop_cost.h. */
#include "passes/loop_cost.h"

static const double PER_OPERATION = 0.5, PER_LOAD = 0.5, PER_STORE = 1, PER_DIVISION = 5, PER_FUNCTION = 10,
                    PER_SCALAR_FUNCTION = 20;
static const double PER_CALL = 1000, MOST_TRIPS = 1e7;          /* a function of runtime/: sorts and searches */

static double access_cost(const Expr *index, double one) {
  bool run = index->lanes == 1 || (index->kind == EX_RAMP && index->arg[1]->i == 1);
  return run ? one : 2 * one * index->lanes;
}

static double scalar_cost(const Expr *e) {
  // much of it is for indices
  if (!dtype_is_float(e->arg[scalar_info[e->op].arity - 1]->elem)) return PER_OPERATION / 2;
  if (e->op == S_DIV || e->op == S_SQRT || e->op == S_RECIP) return PER_DIVISION;
  bool plain = scalar_info[e->op].c_operator || e->op == S_MIN || e->op == S_MAX || e->op == S_RELU ||
      e->op == S_ABS || e->op == S_WHERE;
  return plain ? PER_OPERATION : e->lanes > 1 ? PER_FUNCTION : PER_SCALAR_FUNCTION;
}

static double expr_cost(const Expr *e) {
  if (!e) return 0;
  double cost = 0;
  if (e->kind == EX_LOAD) return access_cost(e->arg[0], PER_LOAD);
  if (e->kind == EX_SCALAR) cost = scalar_cost(e);
  if (e->kind == EX_FMA || e->kind == EX_CAST) cost = PER_OPERATION;
  if (e->kind == EX_REDUCE) cost = PER_OPERATION * e->arg[0]->lanes;
  for (int i = 0; i < 3 && e->arg[i]; i++) cost += expr_cost(e->arg[i]);
  return cost;
}

static double distance(int64_t lo, int64_t hi) {
  if (lo == INT64_MIN || lo == INT64_MAX || hi == INT64_MIN || hi == INT64_MAX) return MOST_TRIPS;
  return (double)hi - (double)lo;
}

/* Both ends of a range may move together: their lowest values are as far apart as one range is long, and the
 * highest. */
static double trips_of(const Stmt *s) {
  double low = distance(s->lo->lo, s->hi->lo), high = distance(s->lo->hi, s->hi->hi), trips = low > high ? low : high;
  if (trips >= MOST_TRIPS * (double)s->step) return MOST_TRIPS;
  return trips > 0 ? (trips + (double)s->step - 1) / (double)s->step : 0;
}

double stmt_cost(const Stmt *s) {
  switch (s->kind) {
  case ST_BLOCK: return block_cost(s->body);
  case ST_FOR: return 1 + trips_of(s) * (1 + block_cost(s->body));
  case ST_IF: {
    double then = block_cost(s->body), other = block_cost(s->other);
    return expr_cost(s->cond) + (then > other ? then : other);
  }
  case ST_LET: case ST_SET: return s->value->elem == DT_I64 ? 0 : expr_cost(s->value);
  case ST_STORE: return expr_cost(s->value) + access_cost(s->index, PER_STORE);
  case ST_CALL: return PER_CALL;
  case ST_NOTE: case ST_PREFETCH: case STMT_COUNT: break;
  }
  return 0;
}

double block_cost(const Block *s) {
  double cost = 0;
  for (int i = 0; s && i < s->stmts.len; i++) cost += stmt_cost(s->stmts.at[i]);
  return cost;
}
