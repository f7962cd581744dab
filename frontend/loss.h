/* Losses as graphs: what the network language calls, and anything else that trains. Definitions, defaults and
 * reductions are PyTorch's (torch.nn.functional); losses.def lists them.
 *
 * All take a graph, what the network gives, and the target, and give a value of x's element type: rank 0 after a
 * reduction. A target that is a number is a constant of rank 0 (build_scalar); float targets broadcast to x. 0
 * after an error in the module's diags. */
#ifndef FRONTEND_LOSS_H
#define FRONTEND_LOSS_H
#include "ir/build.h"

typedef enum { LOSS_MEAN, LOSS_SUM, LOSS_EACH } LossReduction;
extern const char *const loss_reduction_text[];        /* "mean", "sum", "none" */

enum { LOSS_AXIS_FOUND = 99 };                         /* LossSpec.axis: look for it, see below */

/* Options; loss_default gives each its default. A loss looks at those of its row only. */
typedef struct LossSpec {
  LossReduction reduction;
  double label_smoothing;                              /* share of a target that is spread evenly over all classes; 0 */
  int64_t ignore_index;                                /* labels of rows that do not count; -100 */
  ValueId weight;                                      /* of classes [C]; bce_logits: broadcasts to x; 0: none */
  ValueId pos_weight;                                  /* bce_logits: of the positive term; 0: none */
  int axis;                                            /* of classes. LOSS_AXIS_FOUND: the one whose removal gives the
                                                        * labels' shape, axis 1 first, then the last */
  double delta;                                        /* huber; 1 */
  double margin;                                       /* hinge; 1 */
  ValueId input_lengths, target_lengths;               /* ctc: [N]; 0: T, the labels of the row that are not blank */
  int64_t blank;                                       /* ctc; 0 */
} LossSpec;

LossSpec loss_default(void);

typedef ValueId (*LossFn)(Graph *g, ValueId x, ValueId target, const LossSpec *o);
typedef enum { TARGET_LABELS, TARGET_VALUES, TARGET_SEQUENCES } LossTarget;
typedef struct LossInfo { const char *name; LossTarget target; const char *what; LossFn build; } LossInfo;
extern const LossInfo loss_info[];
extern const int loss_count;
const LossInfo *loss_find(const char *name);           /* NULL when there is none */

/* The same by name. cross_entropy and nll: a mean is divided by the weights (or the number) of the rows that count;
 * when none does it is NaN, as PyTorch's, and the gradient is 0.
 * ctc (Graves et al. 2006): x [T, N, C] of a log softmax, targets [N, S]; the mean divides each row's loss by its
 * target's length. */
#define LOSS(name, target, params, what) \
  ValueId loss_##name(Graph *g, ValueId x, ValueId target, const LossSpec *o);
#include "frontend/losses.def"
#undef LOSS
#endif
