/* lt_roi_align and lt_roi_align_grad: see lt_ops.h. Girshick's RoI pooling with linear interpolation: He, Gkioxari, Dollar, Girshick,
 * "Mask R-CNN" (2017). A bin's samples lie evenly inside it; those more than one element outside count as 0. */
#include "lt_ops.h"

enum { MOST_SAMPLES = 4096 };            /* per bin and axis: what a damaged region costs at most */

static int64_t ceil_count(float extent, int64_t bins) {
  float per = extent / (float)bins;
  int64_t n;
  if (!(per > 0)) return 0;
  if (per > (float)MOST_SAMPLES) return MOST_SAMPLES;
  n = (int64_t)per;
  return n + ((float)n < per);
}

/* Elements low, low + step around p on an axis of n, and the weight of the second; 0: p is outside. */
static int around(float p, int64_t n, int64_t *low, int64_t *high, float *f) {
  if (!(p >= -1.0f && p <= (float)n)) return 0;
  if (p < 0) p = 0;
  *low = (int64_t)p;
  if (*low >= n - 1) { *low = *high = n - 1; *f = 0; }
  else { *high = *low + 1; *f = p - (float)*low; }
  return 1;
}

/* Where the samples of a region lie; bins of PH x PW, samples of nh x nw in each. */
typedef struct Region { float x0, y0, bin_h, bin_w; int64_t H, W, nh, nw, batch; int inside; } Region;

/* The four elements around a sample, as places in a plane, and their weights. */
typedef struct Corners { int64_t at[4]; float w[4]; } Corners;

static Region region_of(const float *roi, int64_t batch, int64_t N, int64_t H, int64_t W, int64_t PH, int64_t PW,
                        int64_t ratio) {
  Region g;
  g.x0 = roi[0];
  g.y0 = roi[1];
  g.bin_h = (roi[3] - g.y0) / (float)PH;
  g.bin_w = (roi[2] - g.x0) / (float)PW;
  g.H = H;
  g.W = W;
  g.nh = ratio > 0 ? ratio : ceil_count(roi[3] - g.y0, PH);
  g.nw = ratio > 0 ? ratio : ceil_count(roi[2] - g.x0, PW);
  g.batch = batch < 0 ? batch + N : batch;
  g.inside = g.batch >= 0 && g.batch < N;
  return g;
}

/* Sample i, j of bin p, q; 0: outside, nothing is read. */
static int corners_of(const Region *g, int64_t p, int64_t q, int64_t i, int64_t j, Corners *c) {
  int64_t top, bottom, left, right;
  float fy, fx;
  if (!g->inside ||
      !around(g->y0 + (float)p * g->bin_h + ((float)i + 0.5f) * g->bin_h / (float)g->nh, g->H, &top, &bottom,
              &fy) ||
      !around(g->x0 + (float)q * g->bin_w + ((float)j + 0.5f) * g->bin_w / (float)g->nw, g->W, &left, &right, &fx))
    return 0;
  c->at[0] = top * g->W + left;
  c->at[1] = top * g->W + right;
  c->at[2] = bottom * g->W + left;
  c->at[3] = bottom * g->W + right;
  c->w[0] = (1 - fy) * (1 - fx);
  c->w[1] = (1 - fy) * fx;
  c->w[2] = fy * (1 - fx);
  c->w[3] = fy * fx;
  return 1;
}

/* The bin's mean; max: the first largest weighted corner (*best: its place, -1 outside, and *weight). */
static float bin_value(const Region *g, const float *plane, int64_t p, int64_t q, int max, int64_t *best,
                       float *weight) {
  float sum = 0, most = 0;
  int64_t i, j, k;
  int seen = 0;
  *best = -1;
  *weight = 0;
  for (i = 0; i < g->nh; i++)
    for (j = 0; j < g->nw; j++) {
      Corners c;
      int inside = corners_of(g, p, q, i, j, &c);
      float v[4] = {0, 0, 0, 0};
      for (k = 0; inside && k < 4; k++) v[k] = c.w[k] * plane[c.at[k]];
      sum += v[0] + v[1] + v[2] + v[3];
      for (k = 0; k < 4; k++)
        if (!seen || v[k] > most) {
          most = v[k];
          seen = 1;
          *best = inside ? c.at[k] : -1;
          *weight = inside ? c.w[k] : 0;
        }
    }
  return max ? most : g->nh * g->nw > 0 ? sum / (float)(g->nh * g->nw) : 0;
}

void lt_roi_align(const float *x, const float *rois, const int64_t *batch, float *y, int64_t N, int64_t C, int64_t H,
                  int64_t W, int64_t R, int64_t PH, int64_t PW, int64_t ratio, int64_t max) {
  int64_t r, c, p, q, best;
  float weight;
  for (r = 0; r < R; r++) {
    Region g = region_of(rois + 4 * r, batch[r], N, H, W, PH, PW, ratio);
    for (c = 0; c < C; c++)
      for (p = 0; p < PH; p++)
        for (q = 0; q < PW; q++)
          y[((r * C + c) * PH + p) * PW + q] =
              bin_value(&g, g.inside ? x + (g.batch * C + c) * H * W : x, p, q, max != 0, &best, &weight);
  }
}

static void bin_spread(const Region *g, float *plane, int64_t p, int64_t q, float dy) {
  int64_t i, j, k;
  Corners c;
  for (i = 0; i < g->nh; i++)
    for (j = 0; j < g->nw; j++)
      if (corners_of(g, p, q, i, j, &c))
        for (k = 0; k < 4; k++) plane[c.at[k]] += c.w[k] * dy / (float)(g->nh * g->nw);
}

void lt_roi_align_grad(const float *x, const float *rois, const int64_t *batch, const float *dy, float *dx,
                       int64_t N, int64_t C, int64_t H, int64_t W, int64_t R, int64_t PH, int64_t PW, int64_t ratio,
                       int64_t max) {
  int64_t r, c, p, q, i, best;
  float weight;
  for (i = 0; i < N * C * H * W; i++) dx[i] = 0;
  for (r = 0; r < R; r++) {
    Region g = region_of(rois + 4 * r, batch[r], N, H, W, PH, PW, ratio);
    for (c = 0; g.inside && c < C; c++)
      for (p = 0; p < PH; p++)
        for (q = 0; q < PW; q++) {
          int64_t plane = (g.batch * C + c) * H * W;
          float d = dy[((r * C + c) * PH + p) * PW + q];
          if (!max) bin_spread(&g, dx + plane, p, q, d);
          else if (bin_value(&g, x + plane, p, q, 1, &best, &weight), best >= 0) dx[plane + best] += weight * d;
        }
  }
}
