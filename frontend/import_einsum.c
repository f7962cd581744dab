/* Einsum -> transposes, diagonals, sums and matrix products.
 *
 * Every operand is brought to one axis per label: a label that occurs twice is a diagonal, the axes under an
 * ellipsis become labels of their own, counted from the right. Then operands are combined from left to right:
 * labels that nobody needs any more are summed away early, shared labels that are needed later are batch axes,
 * shared ones that are not are contracted, and the rest are rows or columns of a matrix product. */
#include <ctype.h>
#include <string.h>
#include "frontend/calc.h"

enum { ELLIPSIS_LABEL = 256 };             // + distance from the right: the axes of an ellipsis

typedef struct Term { ValueId v; int n, label[MAX_RANK]; } Term;

static const Type *type_of_value(Import *x, ValueId v) { return &value_of(x->m, v)->type; }

static int find_label(const Term *t, int label) {
  for (int k = 0; k < t->n; k++)
    if (t->label[k] == label) return k;
  return -1;
}

/* Reads one term of the equation ("ij...k") up to ',' or '-' or the end; `rank` axes, -1: take `dots` ellipsis axes. */
static bool read_term(Import *x, const char **s, int rank, int *dots, Term *t) {
  int plain = 0, before = -1, label[MAX_RANK];
  for (; **s && **s != ',' && **s != '-'; ++*s) {
    if (isspace((unsigned char)**s)) continue;
    if (!strncmp(*s, "...", 3) && before < 0) {
      before = plain;
      *s += 2;
    } else if (isalpha((unsigned char)**s) && plain < MAX_RANK) {
      label[plain++] = **s;
    } else {
      return imp_fail(x, "parse", "cannot read the equation at '%.20s'", *s);
    }
  }
  int wide = before < 0 ? 0 : rank < 0 ? *dots : rank - plain;
  if (wide < 0 || plain + wide > MAX_RANK || (rank >= 0 && plain + wide != rank))
    return imp_fail(x, "shape", "an operand has %d axes, its term in the equation %d", rank, plain);
  t->n = plain + wide;
  for (int k = 0, from = 0; k < t->n;) {
    if (k == before) for (int w = wide; w > 0; w--) t->label[k++] = ELLIPSIS_LABEL + w;
    if (from < plain && k < t->n) t->label[k++] = label[from++];
  }
  if (wide > *dots) *dots = wide;
  return true;
}

/* Without an arrow: the ellipsis, then in alphabetical order the labels that occur once. */
static void implicit_output(const Term *in, int n, int dots, Term *out) {
  out->n = 0;
  for (int w = dots; w > 0; w--) out->label[out->n++] = ELLIPSIS_LABEL + w;
  for (int c = 'A'; c <= 'z'; c++) {
    int count = 0;
    for (int t = 0; t < n; t++)
      for (int k = 0; k < in[t].n; k++) count += in[t].label[k] == c;
    if (count == 1 && out->n < MAX_RANK) out->label[out->n++] = c;
  }
}

/* Brings the axes of t into this order. */
static void arrange(Import *x, Term *t, const int *label, int n) {
  int perm[MAX_RANK];
  for (int k = 0; k < n; k++) perm[k] = find_label(t, label[k]);
  t->v = imp_transpose(x, t->v, perm, n);
  memcpy(t->label, label, sizeof *label * (size_t)n);
}

/* The first label that occurs twice -> [..., n, n] -> [..., n*n] -> every n+1st element */
static bool take_diagonal(Import *x, Term *t) {
  for (int a = 0; a < t->n; a++)
    for (int b = a + 1; b < t->n; b++) {
      if (t->label[a] != t->label[b]) continue;
      int perm[MAX_RANK], rest = 0, label[MAX_RANK];
      Dim shape[MAX_RANK], first[MAX_RANK], step[MAX_RANK], size = type_of_value(x, t->v)->dims[a];
      if (!dim_eq(size, type_of_value(x, t->v)->dims[b])) return imp_fail(x, "shape", "a diagonal of different sizes");
      if (!dim_is_const(size)) return imp_fail(x, "unsupported", "a diagonal of the free size %s", dim_text(size));
      for (int k = 0; k < t->n; k++)
        if (k != a && k != b) {
          label[rest] = t->label[k], shape[rest] = type_of_value(x, t->v)->dims[k];
          first[rest] = DIM(0), step[rest] = DIM(1), perm[rest++] = k;
        }
      perm[rest] = a, perm[rest + 1] = b;
      label[rest] = t->label[a];
      ValueId v = imp_transpose(x, t->v, perm, t->n);
      shape[rest] = dim_mul(size, size);
      v = imp_reshape(x, v, shape, rest + 1);
      first[rest] = DIM(0), step[rest] = DIM(size.k + 1), shape[rest] = size;
      Attr attr[] = {attr_dims(x->m, "starts", first, rest + 1), attr_dims(x->m, "steps", step, rest + 1),
                     attr_dims(x->m, "shape", shape, rest + 1)};
      t->v = imp_op(x, OP_SLICE, &v, 1, attr, 3);
      t->n = rest + 1;
      memcpy(t->label, label, sizeof *label * (size_t)t->n);
      return t->v && take_diagonal(x, t);
    }
  return true;
}

/* Sums away the labels that are in none of the `n` terms at `keep`. */
static void sum_unneeded(Import *x, Term *t, const Term *keep, int n) {
  int axes[MAX_RANK], count = 0, left = 0;
  for (int k = 0; k < t->n; k++) {
    bool needed = false;
    for (int i = 0; i < n && !needed; i++) needed = find_label(&keep[i], t->label[k]) >= 0;
    if (!needed) axes[count++] = k;
    else t->label[left++] = t->label[k];
  }
  if (count) t->v = imp_reduce(x, OP_REDUCE_SUM, t->v, axes, count, false);
  t->n = left;
}

/* a and b are [batch, …]: a [batch, rows, inner], b [batch, inner, columns]; `needed`: output and later operands */
static bool combine(Import *x, Term *a, Term *b, const Term *needed, int nneeded) {
  int batch[MAX_RANK], inner[MAX_RANK], rows[MAX_RANK], columns[MAX_RANK], nb = 0, ni = 0, nr = 0, nc = 0;
  for (int k = 0; k < a->n; k++) {
    bool shared = find_label(b, a->label[k]) >= 0, later = false;
    for (int i = 0; i < nneeded && !later; i++) later = find_label(&needed[i], a->label[k]) >= 0;
    if (!shared) rows[nr++] = a->label[k];
    else if (later) batch[nb++] = a->label[k];
    else inner[ni++] = a->label[k];
  }
  for (int k = 0; k < b->n; k++)
    if (find_label(a, b->label[k]) < 0) columns[nc++] = b->label[k];
  if (nb + nr + nc > MAX_RANK || nb + 2 > MAX_RANK)
    return imp_fail(x, "shape", "an intermediate has over %d axes", MAX_RANK);
  int order[MAX_RANK];
  memcpy(order, batch, sizeof order), memcpy(order + nb, rows, sizeof *rows * (size_t)nr);
  memcpy(order + nb + nr, inner, sizeof *inner * (size_t)ni);
  arrange(x, a, order, a->n);
  memcpy(order + nb, inner, sizeof *inner * (size_t)ni), memcpy(order + nb + ni, columns, sizeof *columns * (size_t)nc);
  arrange(x, b, order, b->n);
  if (!a->v || !b->v) return false;
  Type ta = *type_of_value(x, a->v), tb = *type_of_value(x, b->v);
  Dim sa[MAX_RANK], sb[MAX_RANK], out[MAX_RANK];
  for (int k = 0; k < nb; k++) {
    sa[k] = ta.dims[k], sb[k] = tb.dims[k];
    out[k] = dim_is(sa[k], 1) ? sb[k] : sa[k];
  }
  sa[nb] = calc_product(ta.dims + nb, nr), sa[nb + 1] = calc_product(ta.dims + nb + nr, ni);
  sb[nb] = calc_product(tb.dims + nb, ni), sb[nb + 1] = calc_product(tb.dims + nb + ni, nc);
  for (int k = 0; k < nr; k++) out[nb + k] = ta.dims[nb + k];
  for (int k = 0; k < nc; k++) out[nb + nr + k] = tb.dims[nb + ni + k];
  ValueId va = imp_reshape(x, a->v, sa, nb + 2), vb = imp_reshape(x, b->v, sb, nb + 2);
  // nothing to sum: a broadcast product [batch, rows, 1] * [batch, 1, columns]
  a->v = imp_reshape(x, imp_op2(x, ni ? OP_MATMUL : OP_MUL, va, vb), out, nb + nr + nc);
  a->n = nb + nr + nc;
  memcpy(a->label, batch, sizeof *batch * (size_t)nb);
  memcpy(a->label + nb, rows, sizeof *rows * (size_t)nr);
  memcpy(a->label + nb + nr, columns, sizeof *columns * (size_t)nc);
  return a->v != 0;
}

bool import_einsum(Import *x) {
  const char *s = imp_str(x, "equation", "");
  Term *in = NEW_N(&x->m->perm, Term, x->nin + 1), *out = &in[x->nin];        // `out` closes the list of what is needed
  int dots = 0;
  for (int k = 0; k < x->nin; k++) {
    in[k].v = x->in[k];
    if (!read_term(x, &s, imp_rank(x, k), &dots, &in[k])) return false;
    if (k + 1 < x->nin && *s++ != ',') return imp_fail(x, "shape", "has %d operands, its equation fewer terms", x->nin);
  }
  if (*s == ',') return imp_fail(x, "shape", "has %d operands, its equation more terms", x->nin);
  if (s[0] == '-' && s[1] == '>') {
    s += 2;
    if (!read_term(x, &s, -1, &dots, out)) return false;
    if (*s) return imp_fail(x, "parse", "cannot read the equation at '%.20s'", s);
  } else {
    implicit_output(in, x->nin, dots, out);
  }
  for (int k = 0; k < x->nin; k++)
    if (!take_diagonal(x, &in[k])) return false;
  Term *a = &in[0];
  for (int k = 1; k < x->nin; k++) {
    sum_unneeded(x, a, &in[k], x->nin + 1 - k);
    Term *rest = NEW_N(&x->m->perm, Term, x->nin + 1);                        // a's and the later terms' labels
    rest[0] = *a;
    memcpy(rest + 1, &in[k + 1], sizeof *in * (size_t)(x->nin - k));
    sum_unneeded(x, &in[k], rest, x->nin + 1 - k);
    if (!combine(x, a, &in[k], rest + 1, x->nin - k)) return false;
  }
  sum_unneeded(x, a, out, 1);
  for (int k = 0; k < out->n; k++)
    if (find_label(a, out->label[k]) < 0)
      return imp_fail(x, "parse", "the equation's result has a label that no operand has");
  if (a->n != out->n) return imp_fail(x, "parse", "the equation's result repeats a label");
  arrange(x, a, out->label, out->n);
  imp_set(x, 0, a->v);
  return true;
}
