// The seam between the bindings (compiled once) and the kernels (compiled once per instruction set): storage types,
// plain structs of pointers and extents, and the table of kernels. Nothing here has code.
//
// Parameters (gamma, beta) and constants of a channel have the working type, double for double, else float, unless a
// struct says double. Saved statistics and sums for the gradients of parameters are double.
//
// Glossary of kernels/:
//
//   unit     all values that share one statistic: a row, a channel of a block, a group of a sample
//   block    a part of the batch with statistics of its own (a virtual batch)
//   run      values of one unit that lie side by side in memory
//   segment  up to 4096 values of a run, or up to 256 rows of a column, that are summed about one shift
//   tile     neighboring columns that are visited together
//   panel    the part of a unit or tile that one task sums; partial sums of panels combine in a fixed order
//   task     a piece of work that one thread does; the shape alone decides what it is
//   lane     one element of a vector register; sums use virtual lanes, the same number on any instruction set
//   wide     of units whose values leave the range of the working type: they are computed in double, scaled
//
// In all drawings memory runs from left to right, then from top to bottom.
//
// x (rows, width), with statistics of each row. Gradients of the parameters are sums down the columns:
//
//            width
//          +-----------+-----------+-----+
//   row 0  | segment 0 | segment 1 |  2  |   unit 0, a single run   |
//   row 1  | segment 0 | segment 1 |  2  |   unit 1                 |  panel 0 of the columns
//   row 2  | segment 0 | segment 1 |  2  |   unit 2                 |
//          +-----------+-----------+-----+
//   row 3  | segment 0 | segment 1 |  2  |   unit 3                 |
//   row 4  | segment 0 | segment 1 |  2  |   unit 4                 |  panel 1
//          +-----------+-----------+-----+
//
// x (blocks, outer, channels, inner), where inner is long. Each unit has `outer` runs of `inner` values:
//
//                       channel 0   channel 1   channel 2
//                      +-----------+-----------+-----------+
//   block 0, outer 0   | run       | run       | run       |   |
//   block 0, outer 1   | run       | run       | run       |   |  units 0, 1 and 2, one for each channel
//                      +-----------+-----------+-----------+
//   block 1, outer 0   | run       | run       | run       |   |
//   block 1, outer 1   | run       | run       | run       |   |  units 3, 4 and 5
//                      +-----------+-----------+-----------+
//
// The same, where inner is short. A block is a matrix (outer, channels * inner); where inner is 1, a column is a unit:
//
//           tile 0        tile 1
//         +-------------+-------------+
//   row 0 | c0 c1 c2 c3 | c4 c5 c6 c7 |   |
//   row 1 | c0 c1 c2 c3 | c4 c5 c6 c7 |   |  panel 0, a task for each tile
//   row 2 | c0 c1 c2 c3 | c4 c5 c6 c7 |   |
//         +-------------+-------------+
//   row 3 | c0 c1 c2 c3 | c4 c5 c6 c7 |   |
//   row 4 | c0 c1 c2 c3 | c4 c5 c6 c7 |   |  panel 1
//         +-------------+-------------+
//
// A sum of floats in its 64 virtual lanes, which combine in a fixed tree:
//
//   value   0  1  2 ... 63 | 64 65 66 ... 127 | 128 ...
//   lane    0  1  2 ... 63 |  0  1  2 ...  63 |   0 ...
#pragma once
#include "dtype.h"

namespace trimtab {

// x (rows, width), normalized along width by mean and variance (layer norm) or by the mean square (RMS norm, no beta).
struct RowNormForward {
    const void *x, *residual, *gamma, *beta;  // residual is added to x first; it may be null
    void *y, *summed;                         // summed: x + residual, if there is one
    double *mean, *rstd;                      // may be null
    ptrdiff_t rows, width;
    double eps;
};
struct RowNormBackward {
    const void *dy, *x, *gamma;
    const double *mean, *rstd;
    void* dx;
    double *dgamma, *dbeta;
    ptrdiff_t rows, width;
};

// x (blocks, outer, channels, inner), with statistics of each channel of a block and parameters of each channel.
struct ChannelLayout {
    ptrdiff_t blocks, outer, channels, inner;
    ptrdiff_t other_values = 0;  // values of the same array that other calls visit
};
// Batch renormalization (Ioffe 2017): r * x̂ + d takes the place of x̂; r and d come from given statistics, clipped.
struct BatchRenorm {
    const double *mean, *std;  // (channels,)
    double r_max, d_max;
    double *r, *d;  // outputs, of each unit
};
struct BatchNormForward {
    const void *x, *gamma, *beta, *residual;  // residual may be null
    void* y;
    double *mean, *rstd, *var;
    ChannelLayout layout;
    double eps;
    bool relu;
    const BatchRenorm* renorm = nullptr;
};
// With given statistics.
struct BatchNormApply {
    const void *x, *gamma, *beta, *residual;
    void* y;
    const double *mean, *rstd;
    ChannelLayout layout;
    bool relu;
};
struct BatchNormBackward {
    const void *dy, *x, *gamma, *y;  // y is null without ReLU
    const double *mean, *rstd;
    void *dx, *dresidual;    // dresidual may be null
    double *dgamma, *dbeta;  // added to
    ChannelLayout layout;
    bool training;  // false: the statistics are constants
};
// The parts of batch norm, between which statistics can be shared with other processes; each value is that of a unit.
struct BatchMoments {
    const void* x;
    double *mean, *var;
    ChannelLayout layout;
    double eps = 0;  // will be added to the variances
};
struct BatchNormBackwardSums {
    const void *dy, *x;
    const double *mean, *rstd;
    double *sum_dy, *sum_dy_xhat;
    ChannelLayout layout;
};
// dx = rstd * (gamma * dy - mean_h - x̂ * mean_hx)
struct BatchNormBackwardApply {
    const void *dy, *x;
    void* dx;
    const double *mean, *rstd, *gamma, *mean_h, *mean_hx;
    ChannelLayout layout;
};

// x (samples, outer, groups, channels, inner), with statistics of each group of a sample and parameters (groups, channels).
struct GroupLayout {
    ptrdiff_t samples, outer, groups, channels, inner;  // channels: of one group
};
struct GroupNormForward {
    const void *x, *gamma, *beta;
    void* y;
    double *mean, *rstd;  // may be null
    GroupLayout layout;
    double eps;
};
struct GroupNormBackward {
    const void *dy, *x, *gamma;  // gamma: in double unless by_row
    const double *mean, *rstd;
    void* dx;
    double *dgamma, *dbeta;
    GroupLayout layout;
};

// Arrays of any size.
struct ArrayList {
    ptrdiff_t count;
    const ptrdiff_t* sizes;
    void* const* data;
};
// Weight decay: l2 * w + l1 * sign(w) in the gradient.
struct Decay {
    double l2, l1;
};
// What every optimizer does with the weights w, the gradients and a step that it makes of them.
struct ParameterUpdate {
    ArrayList weights;
    void *const *gradients, *const *masters;  // masters may be null
    const bool* decays;                       // of each array; null: weight decay for all
    double grad_scale;                        // < 0: ascent
    double rate;                              // w -= rate * (step + decoupled decay)
    Decay coupled, decoupled;
    double threshold;  // of the proximal (soft-threshold) step; 0: none
    bool zero_grad;
    double* sums;  // of |w| and of w^2 before the update, then the norm of the gradients; may be null
};
struct SgdUpdate {
    ParameterUpdate update;
    void* const* velocities;  // may be null
    const bool* first_step;   // of each array
    double momentum, dampening;
    bool nesterov;
};
struct AdamUpdate {
    ParameterUpdate update;
    void *const *averages, *const *squares, *const *largest_squares;  // the last may be null
    double beta1, beta2, eps;
    double step_size;        // lr / (1 - beta1^t)
    double root_correction;  // sqrt(1 - beta2^t)
};
struct SumOver {
    ArrayList arrays;
    double* sums;
    double power_of_two = 1;  // by which values are multiplied first: their sum may be out of range
};
struct Scale {
    ArrayList arrays;
    double factor, power_of_two = 1;  // multiplies by both, whose product may be out of range
};
// x (rows, width): rows whose Euclidean norm exceeds the limit are scaled down to it.
struct MaxNorm {
    const void* x;
    void* y;
    ptrdiff_t rows, width;
    double limit;
};

// Copies matrices (rows, columns), one for each index of the outer axes: columns are neighbors in `from`, rows in `to`.
struct CopyAxis {
    ptrdiff_t extent, from_stride, to_stride;  // all strides in bytes
};
struct Transpose {
    const char* from;
    char* to;
    ptrdiff_t rows, columns, row_stride, column_stride;  // of rows in `from`, of columns in `to`
    const CopyAxis* outer;
    int outer_axes;
};

// Which elements to keep, from the random stream of a seed: those whose random byte exceeds `byte` and, with ties,
// those where it equals `byte` and 64 further bits are at least `rest`.
struct Decisions {
    uint64_t seed, rest;
    uint8_t byte;
    bool ties;
};
// x as (..., extent[1], extent[0]) whose elements share decisions: step[d] is the stride of dimension d in the array of
// decisions. ndim 0: each element has its own decision.
struct Sharing {
    const ptrdiff_t *extent, *step;
    int ndim;
    ptrdiff_t decisions;
};
// Masks have one bit for each decision, 1 = kept, from the lowest bit of the first byte on.
struct DropoutMask {
    Decisions decisions;
    uint8_t* mask;
    ptrdiff_t count;
};
// y = x * scale + shift where kept, else `dropped`.
struct Dropout {
    const void* x;
    void* y;
    uint8_t* mask;  // output of `forward` (may be null), input of `masked`
    ptrdiff_t count;
    double scale, shift, dropped;
    Decisions decisions;
    Sharing sharing;
};
// y = (x + bias) * scale + residual where kept, else residual; bias (width,).
struct AddDropout {
    const void *x, *bias, *residual;
    void* y;
    uint8_t* mask;
    ptrdiff_t count, width;
    double scale;
    Decisions decisions;
};
// noise = 1 + deviation * z with z standard normal, y = x * noise
struct GaussianDropout {
    const void* x;
    void *noise, *y;
    ptrdiff_t count;
    uint64_t seed;
    double deviation;
};
// y = x * factor
struct Multiply {
    const void *x, *factor;
    void* y;
    ptrdiff_t count;
};

// y = f(x). slope: of leaky ReLU for x <= 0.
struct Activation {
    const void* x;
    void* y;
    ptrdiff_t count;
    double slope;
    bool approximate;
};
// dx = dy * f'(x), with f'(x) from y (for GELU and SiLU from x in its place, as it may be for the ReLUs).
struct ActivationBackward {
    const void *dy, *y;
    void* dx;
    ptrdiff_t count;
    double slope;
    bool approximate;
};
// x (rows, width), and dx of the gradient dy and the result y.
struct Softmax {
    const void* x;
    void* y;
    ptrdiff_t rows, width;
};
struct SoftmaxBackward {
    const void *dy, *y;
    void* dx;
    ptrdiff_t rows, width;
};

// logits (rows, classes), and for each row a label or the probabilities of the classes. The label `ignored` skips a
// row, as does a weight of 0. Losses and gradients are multiplied by `scale`.
struct SoftmaxCrossEntropy {
    const void* logits;
    const int64_t* labels;                       // (rows,); null: probabilities are given
    const void* probabilities;                   // (rows, classes)
    const double *class_weight, *sample_weight;  // (classes,), (rows / rows_per_sample,); null: ones
    void* dlogits;                               // gradient of `loss`
    double *losses, *loss;                       // (rows,), and their sum or mean
    ptrdiff_t rows, classes, rows_per_sample = 1;
    int64_t ignored;
    double label_smoothing, scale = 1;
    bool mean;  // over the rows, weighted by sample_weight and the class_weight of the labels
};
// The loss f(pred, target) of each element, times the weight of its sample and times `scale`.
struct ElementwiseLoss {
    const void *pred, *target;    // target in the working type
    const double* sample_weight;  // (count / inner,); null: ones. A weight of 0 skips a sample
    void* dpred;
    double *losses, *loss;  // of each element (may be null), and their sum / divisor
    ptrdiff_t count, inner = 1;
    double scale = 1, divisor = 1;
};
struct Huber {
    ElementwiseLoss loss;
    double delta;
};
struct BinaryCrossEntropy {
    ElementwiseLoss loss;
    const double* pos_weight;  // (columns,), repeated for all elements; null: ones
    ptrdiff_t columns = 1;
    double label_smoothing;
};

struct Size2d {
    ptrdiff_t height, width;
};
// x (samples, image, groups, channels), with zeros between its elements (input_dilation > 1) and all around: `padding`
// is the number of rows and columns before the first. The kernel has `output` positions, `stride` apart.
struct ConvolutionLayout {
    ptrdiff_t samples, groups, channels, outputs;  // channels, outputs: of one group
    Size2d image, kernel, padding, stride, input_dilation, output;
};
// y (samples, output, groups, outputs)
struct Convolution {
    const void *x, *weight, *bias;  // of the working type: weight (groups, kernel, channels, outputs), bias
    void* y;
    ConvolutionLayout layout;
};
struct ConvolutionWeights {
    const void *dy, *x;
    void* dweight;  // in the working type
    ConvolutionLayout layout;
};

// x (samples, image, channels) and y (samples, output, channels). Windows may extend beyond the image: the first one
// does by `padding` rows and columns.
struct PoolLayout {
    ptrdiff_t samples, channels;
    Size2d image, kernel, padding, stride, output;
};
struct MaxPool {
    const void* x;
    void* y;
    PoolLayout layout;
};
struct MaxPoolBackward {
    const void *dy, *x, *y;
    void* dx;
    PoolLayout layout;
};

// From x to y or, backward, from dy to dx. count_include_pad: means are over the whole kernel, else over its part inside of
// the image. Lines are summed in double: widen and narrow are the conversions of the dtype, whose values have `bytes`.
struct AvgPool {
    const void* from;
    void* to;
    PoolLayout layout;
    bool backward, count_include_pad;
    ptrdiff_t bytes;
    void (*widen)(const void* from, void* to, ptrdiff_t n);
    void (*narrow)(const double* from, void* to, ptrdiff_t n);
};

template <class Arguments>
using Kernel = void (*)(const Arguments&);

struct ConvertKernels {
    void (*widen[dtype_count][2])(const void* from, void* to, ptrdiff_t n);  // to float, to double
    void (*narrow[dtype_count])(const double* from, void* to, ptrdiff_t n);
    void (*fill[2])(void* to, double value, ptrdiff_t n);  // float, double
};
struct RowNormKernels {
    Kernel<RowNormForward> forward[dtype_count];
    Kernel<RowNormBackward> backward[dtype_count];
};
struct BatchNormKernels {
    Kernel<BatchNormForward> forward[dtype_count];
    void (*rstd)(const double* var, double eps, double* rstd, ptrdiff_t n);  // of given variances
    Kernel<BatchNormApply> apply[dtype_count];
    Kernel<BatchNormBackward> backward[dtype_count];
    Kernel<BatchMoments> moments[dtype_count];
    Kernel<BatchNormBackwardSums> backward_sums[dtype_count];
    Kernel<BatchNormBackwardApply> backward_apply[dtype_count];
};
struct GroupNormKernels {
    bool (*by_row)(const GroupLayout&);  // whether the kernels take groups as rows; else channel by channel
    Kernel<GroupNormForward> forward[dtype_count];
    Kernel<GroupNormBackward> backward[dtype_count];
};
struct DropoutKernels {
    Kernel<DropoutMask> mask;
    Kernel<Dropout> forward[dtype_count], masked[dtype_count];
    Kernel<AddDropout> add[dtype_count];
    Kernel<GaussianDropout> gaussian[dtype_count];
    Kernel<Multiply> multiply[dtype_count];
};
struct ParameterUpdateKernels {
    Kernel<SgdUpdate> sgd[dtype_count];
    Kernel<AdamUpdate> adam[dtype_count];
    Kernel<SumOver> weight_norms[dtype_count];  // sums of |w| and of w^2
    Kernel<SumOver> norm[dtype_count];          // in two factors, the second of which is a power of two
    Kernel<Scale> scale[dtype_count];
};
struct TransposeKernels {
    Kernel<Transpose> copy2, copy4, copy8;  // elements of so many bytes
};
struct MaxNormKernels {
    Kernel<MaxNorm> project[dtype_count];
};
struct ActivationKernels {
    Kernel<Activation> relu[dtype_count], leaky_relu[dtype_count], sigmoid[dtype_count], tanh[dtype_count],
        silu[dtype_count], gelu[dtype_count];
    Kernel<ActivationBackward> relu_backward[dtype_count], leaky_relu_backward[dtype_count],
        sigmoid_backward[dtype_count], tanh_backward[dtype_count], silu_backward[dtype_count],
        gelu_backward[dtype_count];
};
struct SoftmaxKernels {
    Kernel<Softmax> softmax[dtype_count], log_softmax[dtype_count];
    Kernel<SoftmaxBackward> softmax_backward[dtype_count], log_softmax_backward[dtype_count];
};
struct LossesKernels {
    Kernel<SoftmaxCrossEntropy> softmax_cross_entropy[dtype_count];
    Kernel<Huber> huber[dtype_count];
    Kernel<ElementwiseLoss> mae[dtype_count];
    Kernel<BinaryCrossEntropy> binary_cross_entropy[dtype_count];
};
struct ConvolutionKernels {
    Kernel<Convolution> forward[dtype_count];
    Kernel<ConvolutionWeights> weights[dtype_count];
};
struct MaxPoolKernels {
    Kernel<MaxPool> forward[dtype_count];
    Kernel<MaxPoolBackward> backward[dtype_count];
};
struct AvgPoolKernels {
    Kernel<AvgPool> pool;
};

// All families: the type of each one's table, and its name.
// clang-format off
#define TRIMTAB_FAMILIES(each, level)          \
    each(ConvertKernels, convert, level)       \
    each(TransposeKernels, transpose, level)   \
    each(RowNormKernels, layer_norm, level)    \
    each(RowNormKernels, rms_norm, level)      \
    each(BatchNormKernels, batch_norm, level)  \
    each(GroupNormKernels, group_norm, level)  \
    each(DropoutKernels, dropout, level)       \
    each(ParameterUpdateKernels, parameter_update, level) \
    each(MaxNormKernels, max_norm, level)      \
    each(ActivationKernels, activation, level) \
    each(SoftmaxKernels, softmax, level)       \
    each(LossesKernels, losses, level)         \
    each(ConvolutionKernels, convolution, level) \
    each(MaxPoolKernels, max_pool, level)      \
    each(AvgPoolKernels, avg_pool, level)
// clang-format on

// The tables of one instruction set.
struct Kernels {
#define TRIMTAB_MEMBER(Table, family, level) const Table* family;
    TRIMTAB_FAMILIES(TRIMTAB_MEMBER, )
#undef TRIMTAB_MEMBER
};
}  // namespace trimtab

// In kernels/*.cpp: the table of the family for the instruction set it is compiled for, the one symbol that it exports.
#define TRIMTAB_JOIN(family, level) family##_##level
#define TRIMTAB_NAME(family, level) TRIMTAB_JOIN(family, level)
#define TRIMTAB_EXPORT(Type, family)                           \
    extern const Type TRIMTAB_NAME(family, TRIMTAB_ISA_LEVEL); \
    const Type TRIMTAB_NAME(family, TRIMTAB_ISA_LEVEL)
// The table of another family for the same instruction set.
#define TRIMTAB_IMPORT(Type, family) extern const Type TRIMTAB_NAME(family, TRIMTAB_ISA_LEVEL)
// A kernel for each storage type, in the order of DType.
#define TRIMTAB_EACH_DTYPE(kernel) {kernel<float>, kernel<double>, kernel<half>, kernel<bfloat16>}
