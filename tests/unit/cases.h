/* The table of eval_cases.h and what it takes to read it: test_eval.c runs it through the evaluator, test_lower.c through
 * compiled programs. */
#ifndef TESTS_UNIT_CASES_H
#define TESTS_UNIT_CASES_H
#include "base/intern.h"
#include "ir/graph.h"
#include "ir/ops.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_IN = 9, MAX_OUT = 5 };
typedef struct Case { const char *op, *attrs, *in[MAX_IN], *out[MAX_OUT]; } Case;

static const Case cases[] = {
#include "tests/unit/eval_cases.h"
};

/* "f32[2,3] 1 2 3 4 5 6" */
static inline Tensor *read_tensor(Arena *a, const char *s) {
  char type[24];
  int64_t dims[MAX_RANK];
  int rank = 0;
  size_t n = strcspn(s, "[");
  snprintf(type, sizeof type, "%.*s", (int)n, s);
  for (s += n + 1; *s != ']'; s += *s == ',') dims[rank++] = strtoll(s, (char **)&s, 10);
  s++;
  Tensor *t = tensor_new(a, dtype_from_text(type), rank, dims);
  for (int64_t i = 0; i < tensor_count(t); i++)
    if (dtype_is_float(t->dtype)) tensor_set(t, i, strtod(s, (char **)&s));
    else if (t->dtype == DT_U64) tensor_set_int(t, i, (int64_t)strtoull(s, (char **)&s, 10));
    else tensor_set_int(t, i, strtoll(s, (char **)&s, 10));
  return t;
}

/* Equal: same type and dims; integers exactly, floats within a few units of their last place. */
static inline void expect_tensor(const Tensor *got, const Tensor *want, const char *what) {
  cr_expect(got && got->dtype == want->dtype && got->rank == want->rank, "%s: wrong type", what);
  if (!got || got->rank != want->rank) return;
  for (int k = 0; k < want->rank; k++)
    cr_expect(got->dims[k] == want->dims[k], "%s: axis %d is %lld, not %lld", what, k, (long long)got->dims[k], (long long)want->dims[k]);
  if (tensor_count(got) != tensor_count(want)) return;
  double tolerance = want->dtype == DT_F16 ? 1e-3 : 1e-5;     // the references computed in f32
  for (int64_t i = 0; i < tensor_count(want); i++) {
    if (!dtype_is_float(want->dtype)) {
      cr_expect(tensor_get_int(got, i) == tensor_get_int(want, i), "%s: element %lld is %lld, not %lld", what, (long long)i,
                (long long)tensor_get_int(got, i), (long long)tensor_get_int(want, i));
      continue;
    }
    double g = tensor_get(got, i), w = tensor_get(want, i);
    bool same = g == w || (isnan(g) && isnan(w)) || fabs(g - w) <= tolerance * fmax(1, fabs(w));
    cr_expect(same, "%s: element %lld is %.9g, not %.9g", what, (long long)i, g, w);
  }
}

/* The kind of an attribute as ops.def has it: 'i'nt 'f'loat 's'tr "d"ims 't'ype (dtype), 'F'loats 'S'trs. */
static inline char attr_kind(Op op, const char *name) {
  const char *at = op_info[op].attrs;
  size_t n = strlen(name);
  for (; at; at = strchr(at, ' ')) {
    at += *at == ' ';
    if (strncmp(at, name, n) || at[n] != ':') continue;
    at += n + 1;
    return !strncmp(at, "dtype", 5) ? 't' : !strncmp(at, "floats", 6) ? 'F' : !strncmp(at, "strs", 4) ? 'S' : *at;
  }
  return 0;
}

static inline Attr read_attr(Module *m, Op op, char *text) {
  char *v = strchr(text, '='), *save = NULL;
  *v++ = 0;
  const char *name = intern(text), *strs[16];
  int64_t dims[32];
  double floats[32];
  int n = 0;
  switch (attr_kind(op, name)) {
  case 'i': return attr_int(name, atoll(v));
  case 'f': return attr_float(name, atof(v));
  case 't': return attr_dtype(name, dtype_from_text(v));
  case 'd': for (char *p = strtok_r(v, ",", &save); p; p = strtok_r(NULL, ",", &save)) dims[n++] = atoll(p);
            return attr_ints(m, name, dims, n);
  case 'F': for (char *p = strtok_r(v, ",", &save); p; p = strtok_r(NULL, ",", &save)) floats[n++] = atof(p);
            return attr_floats(m, name, floats, n);
  case 'S': for (char *p = strtok_r(v, ",", &save); p; p = strtok_r(NULL, ",", &save)) strs[n++] = intern(p);
            return attr_strs(m, name, strs, n);
  default:  return attr_str(name, intern(v));
  }
}

/* "a=1 b=2,3" */
static inline int read_attrs(Module *m, Op op, const char *attrs, Attr *out) {
  char text[300], *save = NULL;
  int n = 0;
  snprintf(text, sizeof text, "%s", attrs);
  for (char *p = strtok_r(text, " ", &save); p; p = strtok_r(NULL, " ", &save)) out[n++] = read_attr(m, op, p);
  return n;
}

static inline int case_outputs(const Case *c) {
  int n = op_info[op_from_text(c->op)].nout;
  if (n < 0) for (n = 0; n < MAX_OUT && c->out[n];) n++;
  return n;
}
#endif
