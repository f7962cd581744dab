/* Norms and dropout of the network language; batch norm and dropout do something else while they learn. */
#ifndef FRONTEND_TRAIN_LAYERS_H
#define FRONTEND_TRAIN_LAYERS_H
#include "ir/build.h"

/* x [N, C, …] normalised per channel; scale and bias [C], or 0. `mean` and `var` name tensors of the state (f32[C],
 * ROLE_STATISTIC; start at 0 and 1). Ioffe and Szegedy 2015; momentum is the weight of the new (PyTorch: 0.1).
 *
 * _train: by the statistics of this batch; the running ones move towards them, var unbiased (n / (n - 1)). When a
 * network is called twice in a step they move twice, in order. _running: by the running statistics. */
ValueId batch_norm_train(Module *m, ValueId x, ValueId scale, ValueId bias, const char *mean, const char *var,
                         double momentum, double epsilon);
ValueId batch_norm_running(Module *m, ValueId x, ValueId scale, ValueId bias, const char *mean, const char *var,
                           double epsilon);

/* x [N, C, …] in groups of C / groups channels, each normalised over all its elements; scale and bias [C], or 0.
 * The same in training and inference. Wu and He 2018. groups must divide C (reported). */
ValueId group_norm(Graph *g, ValueId x, int64_t groups, ValueId scale, ValueId bias, double epsilon);

/* Elements become 0 with probability p, the others are divided by 1 - p, so that nothing needs doing in inference.
 * The choice is a function of seed and step (state "random"), of `stream`, which must differ between the dropouts
 * of a bundle, and of the index. What is kept for the way back is one byte per element. */
ValueId dropout_train(Module *m, ValueId x, double p, int64_t stream);
#endif
