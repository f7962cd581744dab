/* The half of a training step behind the loss: gradients, clipping, accumulation, updates, averages, all as nodes
 * of the step's module and as tensors of the bundle's state. PyTorch's update rules (torch.optim) and defaults.
 *
 * Frozen parameters are simply not listed: no gradient, no state. Each parameter's update is one chain of
 * elementwise nodes over its shape, so that `fuse` makes one kernel of it, which writes parameter and moments in
 * one pass. What is scalar (rates, bias corrections) is computed in f64, as Python does for PyTorch. */
#ifndef FRONTEND_OPTIMIZE_H
#define FRONTEND_OPTIMIZE_H
#include "ir/bundle.h"
#include "ir/build.h"

/* The learning rate; schedules.def. All numbers count steps or are rates. */
typedef enum {
#define SCHEDULE(E, name, options, what) SCHEDULE_##E,
#include "frontend/schedules.def"
#undef SCHEDULE
  SCHEDULE_COUNT
} ScheduleKind;

typedef struct Schedule {
  ScheduleKind kind;
  double lr;                     /* the base rate */
  double warmup;                 /* any kind: so many first steps of rising rate */
  double every, gamma;           /* step */
  double end, steps;             /* cosine, linear */
} Schedule;

typedef enum {
#define OPTIMIZER(E, name, lr, counts, options, what) OPTIMIZER_##E,
#include "frontend/optimizers.def"
  OPTIMIZER_COUNT
} OptimizerKind;

typedef struct OptimizeSpec {
  OptimizerKind kind;
  Schedule rate;
  double momentum, dampening, nesterov, beta1, beta2, eps, alpha, centered, lr_decay, initial, weight_decay;
  double clip_norm, clip_value, accumulate, average, decay_vectors;
} OptimizeSpec;

/* Options by name, for parsers and the reference: `at` is where the double lies in the struct; flags are 0 or 1.
 * All take `lr`, every schedule takes `warmup`, every optimizer what optimize_common lists. */
typedef struct OptimizeOption { const char *name; size_t at; double dflt; const char *what; } OptimizeOption;
typedef struct OptimizerInfo {
  const char *name, *what;
  double lr;
  int noption;
  OptimizeOption option[8];
} OptimizerInfo;
extern const OptimizerInfo optimizer_info[OPTIMIZER_COUNT];     /* offsets into OptimizeSpec */
extern const OptimizeOption optimize_common[];                  /* likewise */
extern const int optimize_ncommon;
extern const OptimizerInfo schedule_info[SCHEDULE_COUNT];       /* offsets into Schedule */

bool optimizer_find(const char *name, OptimizerKind *kind);
bool schedule_find(const char *name, ScheduleKind *kind);
OptimizeSpec optimizer_default(OptimizerKind kind);             /* constant rate, the optimizer's default */
Schedule schedule_default(ScheduleKind kind, double lr);
/* False when this optimizer (schedule) has no such option. A value that makes no sense (beta1=2) is reported by
 * optimize_step. */
bool optimizer_set(OptimizeSpec *s, const char *option, double v);
bool schedule_set(Schedule *s, const char *option, double v);

/* Parameters that are updated alike: names of tensors of the bundle's state (ROLE_PARAMETER). */
typedef struct OptimizeGroup { const char *const *param; int n; OptimizeSpec spec; } OptimizeGroup;

/* Adds to `step` one node `gradient` of loss with respect to all parameters of all groups, and the updates; to
 * `init`, where the parameters have been initialised before, what the moments start from; to b->state the moments:
 * "adam.m/NAME" …, "sum/NAME" (accumulation), "average/NAME", and "calls/STEP", the number of calls of this step,
 * where one of the groups needs it. A moment whose name another step has taken is "adam.m@STEP/NAME". clip_norm is
 * over the parameters of its group. loss: rank 0. False after errors in step->diags. */
bool optimize_step(Bundle *b, Module *step, Module *init, ValueId loss, const OptimizeGroup *group, int ngroups);

/* The three tensors that are always there, and what init gives them: "random" [0, seed], "total_steps" 1,
 * "lr_scale" 1. */
bool optimize_settings(Bundle *b, Module *init, ValueId seed);
/* "random" becomes [step + 1, seed]: once per step function, whatever it minimises. */
void optimize_count(Module *step);
/* f64 of rank 0: the rate in this step, times "lr_scale". */
ValueId optimize_rate(Module *step, const Schedule *s);
#endif
