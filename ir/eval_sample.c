/* resize, grid_sample and their gradients: values between the grid points, in double.
 *
 * resize is separable: each axis in turn, every output element a weighted sum of neighbouring input elements.
 * A position x between elements is written as x = left + ratio with ratio in (0, 1], as ONNX's description of
 * the cubic kernel does. Keys (1981), "Cubic convolution interpolation". */
#include "ir/eval_kit.h"
#include "ir/resize.h"

/* Keys' kernel: 1 at 0, 0 at 1 and 2 */
static double keys(double x, double a) {
  x = fabs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static double keys_slope(double x, double a) {
  double t = fabs(x), slope = 0;
  if (t <= 1) slope = (3 * (a + 2) * t - 2 * (a + 3)) * t;
  else if (t < 2) slope = (3 * a * t - 10 * a) * t + 8 * a;
  return x < 0 ? -slope : slope;
}

static double tent(double x) { return fmax(0, 1 - fabs(x)); }

/* Where output element o lies on the input axis. */
double resize_position(const ResizeAxis *s, int64_t o) {
  double x = (double)o, in = (double)s->in, out = s->scale * in;      // `out` before it is cut to an integer
  if (!strcmp(s->coord, "align_corners")) return out == 1 ? 0 : x * (in - 1) / (out - 1);
  if (!strcmp(s->coord, "asymmetric")) return x / s->scale;
  if (!strcmp(s->coord, "tf_crop_and_resize"))
    return s->roi_from * (in - 1) + (s->roi_to - s->roi_from) * (in - 1) * (out == 1 ? 0.5 : x / (out - 1));
  if (!strcmp(s->coord, "pytorch_half_pixel") && s->out == 1) return 0;
  double centre = (x + 0.5) / s->scale - 0.5;
  if (!strcmp(s->coord, "half_pixel_symmetric")) centre += in / 2 * (1 - (double)s->out / out);
  return centre;
}

static int64_t nearest_element(const ResizeAxis *s, double x) {
  if (!strcmp(s->nearest, "floor")) return (int64_t)floor(x);
  if (!strcmp(s->nearest, "ceil")) return (int64_t)ceil(x);
  return (int64_t)(!strcmp(s->nearest, "round_prefer_ceil") ? floor(x + 0.5) : ceil(x - 0.5));
}

/* Input elements first, first + 1, … and their weights for position x; returns how many. Elements outside the
 * axis stand for its ends. Antialiasing stretches the kernel when the axis shrinks. */
int resize_taps(const ResizeAxis *s, double x, int64_t *first, double *weight) {
  if (s->mode == 'n') { *first = nearest_element(s, x); weight[0] = 1; return 1; }
  double left = ceil(x) - 1, ratio = x - left, shrink = s->antialias && s->scale < 1 ? s->scale : 1, sum = 0;
  int reach = (int)fmax(floor(-(s->mode == 'c' ? 2 : 1) / shrink) + 1, 1 - RESIZE_MAX_TAPS / 2), count = 0;   // <= 0
  *first = (int64_t)left + reach;
  for (int k = reach; k <= 1 - reach; k++) {
    double t = (k - ratio) * shrink, w = s->mode == 'c' ? keys(t, s->a) : tent(t);
    int64_t j = (int64_t)left + k;
    if (s->exclude_outside && (j < 0 || j >= s->in)) w = 0;
    sum += weight[count++] = w;
  }
  for (int k = 0; (s->antialias || s->exclude_outside) && k < count; k++) weight[k] /= sum;
  return count;
}

/* x [outer, in, inner] -> y [outer, out, inner] */
static void resize_axis(const ResizeAxis *s, int64_t outer, int64_t inner, const double *x, double *y) {
  double weight[RESIZE_MAX_TAPS + 2];
  for (int64_t o = 0; o < s->out; o++) {
    int64_t first;
    int count = resize_taps(s, resize_position(s, o), &first, weight);
    for (int64_t p = 0; p < outer; p++)
      for (int64_t q = 0; q < inner; q++) {
        double sum = 0;
        for (int k = 0; k < count; k++) {
          int64_t j = first + k;
          j = j < 0 ? 0 : j >= s->in ? s->in - 1 : j;
          if (weight[k] != 0) sum += weight[k] * x[(p * s->in + j) * inner + q];
        }
        y[(p * s->out + o) * inner + q] = sum;
      }
  }
}

ResizeAxis resize_axis_of(const Node *n, int64_t in, int64_t out, const Tensor *roi, int rank, int k) {
  const Attr *scales = node_attr(n, "scales");
  ResizeAxis s = {.in = in, .out = out, .roi_to = 1,
            .coord = node_str(n, "coord", "half_pixel"), .nearest = node_str(n, "nearest", "round_prefer_floor"),
            .mode = node_str(n, "mode", "nearest")[0], .a = node_float(n, "cubic_a", -0.75),
            .exclude_outside = node_int(n, "exclude_outside", 0) != 0, .antialias = node_int(n, "antialias", 0) != 0};
  s.scale = scales && k < scales->n && scales->floats[k] > 0 ? scales->floats[k] : (double)s.out / (double)s.in;
  if (roi && tensor_count(roi) == 2 * rank) { s.roi_from = tensor_get(roi, k); s.roi_to = tensor_get(roi, rank + k); }
  return s;
}

bool eval_resize(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0], *roi = n->nin > 1 ? in[1] : NULL;
  Tensor *y = out[0];
  if (tensor_count(y) == 0) return true;
  if (tensor_count(x) == 0) return eval_fail(e, n, "cannot resize the empty %s", tensor_type_text(x));
  Arena tmp = {0};
  double *v = load_doubles(&tmp, x);
  bool crop = !strcmp(node_str(n, "coord", ""), "tf_crop_and_resize"), *outside[MAX_RANK] = {0};
  int64_t dims[MAX_RANK];
  memcpy(dims, x->dims, sizeof dims);
  for (int k = 0; k < x->rank; k++) {
    ResizeAxis s = resize_axis_of(n, x->dims[k], y->dims[k], roi, x->rank, k);
    if (s.scale <= 0) { arena_free(&tmp); return eval_fail(e, n, "scale %g of axis %d", s.scale, k); }
    outside[k] = NEW_N(&tmp, bool, s.out);
    for (int64_t o = 0; crop && o < s.out; o++)
      outside[k][o] = resize_position(&s, o) < 0 || resize_position(&s, o) > (double)s.in - 1;
    if (s.in == s.out && s.scale == 1 && !crop) continue;
    dims[k] = s.out;
    double *next = NEW_N(&tmp, double, dims_product(dims, 0, x->rank));
    resize_axis(&s, dims_product(dims, 0, k), dims_product(dims, k + 1, x->rank), v, next);
    v = next;
  }
  int64_t i[MAX_RANK] = {0}, at = 0;
  double extrapolation = node_float(n, "extrapolation", 0);
  do {                                                  // a position beyond the input on any axis
    for (int k = 0; k < y->rank; k++)
      if (outside[k][i[k]]) v[at] = extrapolation;
    at++;
  } while (index_next(i, y->dims, y->rank));
  store_doubles(y, v);
  arena_free(&tmp);
  return true;
}

/* dy [outer, out, inner] -> dx [outer, in, inner], zeroed: the transpose of resize_axis */
static void resize_axis_back(const ResizeAxis *s, int64_t outer, int64_t inner, const double *dy, double *dx) {
  double weight[RESIZE_MAX_TAPS + 2];
  for (int64_t o = 0; o < s->out; o++) {
    int64_t first;
    int count = resize_taps(s, resize_position(s, o), &first, weight);
    for (int k = 0; k < count; k++) {
      int64_t j = first + k;
      j = j < 0 ? 0 : j >= s->in ? s->in - 1 : j;
      for (int64_t p = 0; p < outer; p++)
        for (int64_t q = 0; q < inner; q++)
          dx[(p * s->in + j) * inner + q] += weight[k] * dy[(p * s->out + o) * inner + q];
    }
  }
}

/* Positions beyond the input took the extrapolation value: nothing flows back from them. */
bool eval_resize_grad(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *y = in[0], *roi = n->nin > 1 ? in[1] : NULL;
  Tensor *x = out[0];
  if (tensor_count(x) == 0) return true;
  Arena tmp = {0};
  double *v = load_doubles(&tmp, y);
  bool crop = !strcmp(node_str(n, "coord", ""), "tf_crop_and_resize");
  int64_t dims[MAX_RANK];
  memcpy(dims, y->dims, sizeof dims);
  for (int k = 0; k < y->rank; k++) {
    ResizeAxis s = resize_axis_of(n, x->dims[k], y->dims[k], roi, x->rank, k);
    if (tensor_count(y) && s.scale <= 0) {
      arena_free(&tmp);
      return eval_fail(e, n, "scale %g of axis %d", s.scale, k);
    }
    if (s.in == s.out && s.scale == 1 && !crop) continue;
    int64_t outer = dims_product(dims, 0, k), inner = dims_product(dims, k + 1, x->rank);
    for (int64_t o = 0; crop && o < s.out; o++) {
      double at = resize_position(&s, o);
      if (at >= 0 && at <= (double)s.in - 1) continue;
      for (int64_t p = 0; p < outer; p++)
        for (int64_t q = 0; q < inner; q++) v[(p * s.out + o) * inner + q] = 0;
    }
    dims[k] = s.in;
    double *next = NEW_N(&tmp, double, dims_product(dims, 0, x->rank) + 1);
    if (tensor_count(y)) resize_axis_back(&s, outer, inner, v, next);
    v = next;
  }
  store_doubles(x, v);
  arena_free(&tmp);
  return true;
}

/* ---- grid_sample ---- */

typedef struct Sampler { char mode, padding; bool align; int rank; int64_t in[MAX_RANK]; } Sampler;

/* Folds x into [lo, hi] like a mirror at both ends. *turns: the slope, -1 or 1, or 0 where there is no room. */
static double reflect(double x, double lo, double hi, double *turns) {
  double range = hi - lo;
  *turns = 0;
  if (range <= 0) return lo;
  double r = fmod(fabs(x - lo), 2 * range);
  *turns = (x < lo) == (r <= range) ? -1 : 1;
  return lo + (r <= range ? r : 2 * range - r);
}

/* The element that index i means, or -1: nothing, which counts as 0. */
static int64_t sample_element(const Sampler *s, int d, int64_t i) {
  int64_t n = s->in[d];
  if (i >= 0 && i < n) return i;
  if (s->padding == 'z') return -1;
  if (s->padding == 'b') return i < 0 ? 0 : n - 1;
  double turns;
  i = (int64_t)reflect((double)i, s->align ? 0 : -0.5, s->align ? (double)n - 1 : (double)n - 0.5, &turns);
  return i < 0 ? 0 : i >= n ? n - 1 : i;
}

/* Elements and weights along one axis, and how fast each weight grows with the coordinate. */
typedef struct Taps { int64_t element[4]; double weight[4], slope[4]; } Taps;

/* Coordinate g in [-1, 1] of axis d -> taps; returns how many. Border and cubic: the position stays, elements outside
 * stand for the border's (as PyTorch has it, which the models come from). */
static int sample_taps(const Sampler *s, int d, double g, Taps *taps) {
  double n = (double)s->in[d], x = s->align ? (g + 1) / 2 * (n - 1) : ((g + 1) * n - 1) / 2;
  if (!(x > -1e9)) x = -1e9;                            // NaN too
  if (x > 1e9) x = 1e9;
  if (s->mode == 'n') x = nearbyint(x);
  double lo = s->align ? 0 : -0.5, hi = s->align ? n - 1 : n - 0.5, grows = (s->align ? n - 1 : n) / 2, turns;
  if ((x < lo || x > hi) && s->padding == 'b' && s->mode != 'c') x = fmin(fmax(x, 0), n - 1), grows = 0;
  if ((x < lo || x > hi) && s->padding == 'r') x = reflect(x, lo, hi, &turns), grows *= turns;
  double left = floor(x), ratio = x - left;
  int from = s->mode == 'c' ? -1 : 0, count = s->mode == 'n' ? 1 : s->mode == 'c' ? 4 : 2;
  for (int k = 0; k < count; k++) {
    double t = from + k - ratio;
    taps->element[k] = sample_element(s, d, (int64_t)left + from + k);
    taps->weight[k] = s->mode == 'n' ? 1 : s->mode == 'c' ? keys(t, -0.75) : tent(t);
    // t falls with x
    taps->slope[k] = grows * (s->mode == 'n' ? 0 : s->mode == 'c' ? -keys_slope(t, -0.75) : k ? 1 : -1);
  }
  return count;
}

typedef struct Points {                                 // what a grid samples: x [N,C,in…], y [N,C,out…]
  Sampler s;
  int64_t N, C, plane, points;
  const double *grid;                                   // [N,out…,r] with the last axis' coordinate first
} Points;

static bool points_of(Points *p, Eval *e, const Node *n, Arena *tmp, const Tensor *x, const Tensor *grid) {
  const char *mode = node_str(n, "mode", "linear");
  p->s = (Sampler){.padding = node_str(n, "padding", "zeros")[0], .align = node_int(n, "align_corners", 0) != 0,
                   .rank = x->rank - 2};
  p->s.mode = strstr(mode, "cubic") ? 'c' : mode[0] == 'n' ? 'n' : 'l';
  if (p->s.rank < 1 || grid->dims[grid->rank - 1] != p->s.rank)
    return eval_fail(e, n, "grid %s for %s", tensor_type_text(grid), tensor_type_text(x));
  for (int d = 0; d < p->s.rank; d++) p->s.in[d] = x->dims[d + 2];
  p->N = x->dims[0];
  p->C = x->dims[1];
  p->plane = dims_product(p->s.in, 0, p->s.rank);
  p->points = dims_product(grid->dims, 1, grid->rank - 1);
  p->grid = load_doubles(tmp, grid);
  return true;
}

/* The grid's coordinate of axis d at point q of image b. */
static int64_t coordinate(const Points *p, int64_t b, int64_t q, int d) {
  return (b * p->points + q) * p->s.rank + p->s.rank - 1 - d;
}

/* One pass over everything that is read: y += w x, or dx += w dy, or dgrid += w' x dy, whichever result is given. */
static void sample(const Points *p, const double *x, double *y, const double *dy, double *dx, double *dgrid) {
  const Sampler *s = &p->s;
  for (int64_t b = 0; b < p->N; b++)
    for (int64_t q = 0; q < p->points && p->plane; q++) {
      int64_t count[MAX_RANK], k[MAX_RANK] = {0};
      Taps taps[MAX_RANK];
      for (int d = 0; d < s->rank; d++) count[d] = sample_taps(s, d, p->grid[coordinate(p, b, q, d)], &taps[d]);
      do {
        double w = 1, along[MAX_RANK];                  // along[d]: with the slope instead of the weight of axis d
        int64_t flat = 0;
        bool inside = true;
        for (int d = 0; d < s->rank; d++) along[d] = 1;
        for (int d = 0; d < s->rank; d++) {
          int64_t j = taps[d].element[k[d]];
          inside &= j >= 0;
          w *= taps[d].weight[k[d]];
          for (int a = 0; a < s->rank; a++) along[a] *= a == d ? taps[d].slope[k[d]] : taps[d].weight[k[d]];
          flat = flat * s->in[d] + (j < 0 ? 0 : j);
        }
        for (int64_t c = 0; inside && c < p->C; c++) {
          int64_t to = (b * p->C + c) * p->points + q, from = (b * p->C + c) * p->plane + flat;
          if (y && w != 0) y[to] += w * x[from];
          if (dx) dx[from] += w * dy[to];
          for (int d = 0; dgrid && d < s->rank; d++)
            if (along[d] != 0) dgrid[coordinate(p, b, q, d)] += along[d] * x[from] * dy[to];
        }
      } while (index_next(k, count, s->rank));
    }
}

bool eval_grid_sample(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  Arena tmp = {0};
  Points p;
  bool ok = points_of(&p, e, n, &tmp, in[0], in[1]);
  double *y = NEW_N(&tmp, double, tensor_count(out[0]) + 1);
  if (ok) sample(&p, load_doubles(&tmp, in[0]), y, NULL, NULL, NULL);
  store_doubles(out[0], y);
  arena_free(&tmp);
  return ok;
}

bool eval_grid_sample_grad(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  Arena tmp = {0};
  Points p;
  bool ok = points_of(&p, e, n, &tmp, out[0], in[1]);
  double *dx = NEW_N(&tmp, double, tensor_count(out[0]) + 1);
  if (ok) sample(&p, NULL, NULL, load_doubles(&tmp, in[0]), dx, NULL);
  store_doubles(out[0], dx);
  arena_free(&tmp);
  return ok;
}

bool eval_grid_sample_grad_grid(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  Arena tmp = {0};
  Points p;
  bool ok = points_of(&p, e, n, &tmp, in[0], in[1]);
  double *dgrid = NEW_N(&tmp, double, tensor_count(out[0]) + 1);
  if (ok) sample(&p, load_doubles(&tmp, in[0]), NULL, load_doubles(&tmp, in[2]), NULL, dgrid);
  store_doubles(out[0], dgrid);
  arena_free(&tmp);
  return ok;
}
