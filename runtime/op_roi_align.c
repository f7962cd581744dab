/* lt_roi_align: see lt_ops.h. Girshick's RoI pooling with linear interpolation: He, Gkioxari, Dollar, Girshick,
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

void lt_roi_align(const float *x, const float *rois, const int64_t *batch, float *y, int64_t N, int64_t C, int64_t H,
                  int64_t W, int64_t R, int64_t PH, int64_t PW, int64_t ratio, int64_t max) {
  int64_t r, c, p, q, i, j;
  for (r = 0; r < R; r++) {
    const float *roi = rois + 4 * r;
    float x0 = roi[0], y0 = roi[1], width = roi[2] - x0, height = roi[3] - y0;
    float bin_h = height / (float)PH, bin_w = width / (float)PW;
    int64_t nh = ratio > 0 ? ratio : ceil_count(height, PH), nw = ratio > 0 ? ratio : ceil_count(width, PW);
    int64_t b = batch[r] < 0 ? batch[r] + N : batch[r];
    for (c = 0; c < C; c++) {
      const float *plane = x + (b * C + c) * H * W;
      for (p = 0; p < PH; p++)
        for (q = 0; q < PW; q++) {
          float sum = 0, best = 0;
          int64_t seen = 0;
          for (i = 0; i < nh; i++)
            for (j = 0; j < nw; j++) {
              float v[4] = {0, 0, 0, 0}, fy = 0, fx = 0;
              int64_t top = 0, bottom = 0, left = 0, right = 0, k;
              if (b >= 0 && b < N &&
                  around(y0 + (float)p * bin_h + ((float)i + 0.5f) * bin_h / (float)nh, H, &top, &bottom, &fy) &&
                  around(x0 + (float)q * bin_w + ((float)j + 0.5f) * bin_w / (float)nw, W, &left, &right, &fx)) {
                v[0] = (1 - fy) * (1 - fx) * plane[top * W + left];
                v[1] = (1 - fy) * fx * plane[top * W + right];
                v[2] = fy * (1 - fx) * plane[bottom * W + left];
                v[3] = fy * fx * plane[bottom * W + right];
              }
              sum += v[0] + v[1] + v[2] + v[3];
              for (k = 0; k < 4; k++)
                if (!seen || v[k] > best) { best = v[k]; seen = 1; }
            }
          y[((r * C + c) * PH + p) * PW + q] = max ? best : nh * nw > 0 ? sum / (float)(nh * nw) : 0;
        }
    }
  }
}
