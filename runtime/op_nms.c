/* lt_nms: see lt_ops.h. Greedy: boxes in order of score, each against those already chosen. */
#include "lt_ops.h"
#include "op_sort.h"

typedef struct rect { float y1, x1, y2, x2; } rect;

static rect box_rect(const float *b, int64_t centre) {
  rect r;
  if (centre) {
    r.x1 = b[0] - b[2] / 2; r.x2 = b[0] + b[2] / 2;
    r.y1 = b[1] - b[3] / 2; r.y2 = b[1] + b[3] / 2;
  } else {
    r.y1 = b[0] < b[2] ? b[0] : b[2]; r.y2 = b[0] < b[2] ? b[2] : b[0];
    r.x1 = b[1] < b[3] ? b[1] : b[3]; r.x2 = b[1] < b[3] ? b[3] : b[1];
  }
  return r;
}

/* Is intersection / union above the threshold? Empty boxes overlap with nothing. */
static int overlaps(rect a, rect b, float threshold) {
  float y1 = a.y1 > b.y1 ? a.y1 : b.y1, y2 = a.y2 < b.y2 ? a.y2 : b.y2;
  float x1 = a.x1 > b.x1 ? a.x1 : b.x1, x2 = a.x2 < b.x2 ? a.x2 : b.x2;
  float area_a = (a.y2 - a.y1) * (a.x2 - a.x1), area_b = (b.y2 - b.y1) * (b.x2 - b.x1), common;
  if (y2 <= y1 || x2 <= x1 || area_a <= 0 || area_b <= 0) return 0;
  common = (y2 - y1) * (x2 - x1);
  return common / (area_a + area_b - common) > threshold;
}

static int score_before(const void *scores, int64_t i, int64_t j) {
  return ((const float *)scores)[i] > ((const float *)scores)[j];
}

void lt_nms(const float *boxes, const float *scores, const int64_t *max_out, const float *iou_threshold,
            const float *score_threshold, int64_t *y, int64_t *count, int64_t *scratch, int64_t B, int64_t C,
            int64_t N, int64_t centre) {
  int64_t b, c, i, j, k, found = 0, *order = scratch, *tmp = scratch + N, *chosen = scratch + 2 * N;
  for (b = 0; b < B; b++)
    for (c = 0; c < C; c++) {
      const float *score = scores + (b * C + c) * N;
      int64_t candidates = 0, nchosen = 0;
      for (i = 0; i < N; i++)
        if (score[i] > *score_threshold) order[candidates++] = i;
      lt_sort(order, tmp, candidates, score_before, score);
      for (k = 0; k < candidates && nchosen < *max_out; k++) {
        rect r = box_rect(boxes + (b * N + order[k]) * 4, centre);
        for (j = 0; j < nchosen; j++)
          if (overlaps(r, box_rect(boxes + (b * N + chosen[j]) * 4, centre), *iou_threshold)) break;
        if (j < nchosen) continue;
        chosen[nchosen++] = order[k];
        y[found * 3] = b; y[found * 3 + 1] = c; y[found * 3 + 2] = order[k];
        found++;
      }
    }
  *count = found;
}
