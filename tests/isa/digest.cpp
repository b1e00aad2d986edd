// Prints a hash of the results of each kernel for the instruction set in TRIMTAB_ISA: all sets must print the same.
// Needs no Python, so it also runs under an emulator, with the kernels alone.
#include "digest.h"

namespace {

// ---- the families ----

void convert(DType dtype, const Data& data) {
    const ptrdiff_t n = 1003;
    Array narrow(dtype, n, data), single(DType::float32, n), wide(DType::float64, n), ones(working(dtype), n);
    kernels->convert->widen[int(dtype)][0](narrow, single, n);
    kernels->convert->widen[int(dtype)][1](narrow, wide, n);
    kernels->convert->fill[dtype == DType::float64](ones, 1, n);
    print("convert", dtype, data.name, text({n}), {&narrow, &single, &wide, &ones});
}

void transpose(DType dtype, const Data& data) {
    const auto& table = *kernels->transpose;
    const ptrdiff_t bytes = dtype_bytes[int(dtype)];
    const Kernel<Transpose> copy = bytes == 2 ? table.copy2 : bytes == 4 ? table.copy4 : table.copy8;
    for (const auto& [rows, columns] : {std::pair<ptrdiff_t, ptrdiff_t>{48, 64}, {13, 1030}}) {
        Array x(dtype, 3 * rows * columns, data), y(dtype, 3 * rows * columns);
        const CopyAxis matrices{3, rows * columns * bytes, rows * columns * bytes};
        copy({.from = static_cast<const char*>(x.data()),
              .to = static_cast<char*>(y.data()),
              .rows = rows,
              .columns = columns,
              .row_stride = columns * bytes,
              .column_stride = rows * bytes,
              .outer = &matrices,
              .outer_axes = 1});
        print("transpose", dtype, data.name, text({rows, columns}), {&y});
    }
}

void row_norm(const char* name, const RowNormKernels& table, bool centered, DType dtype, const Data& data) {
    for (const auto& [rows, width] : {std::pair<ptrdiff_t, ptrdiff_t>{67, 5}, {9, 64}, {70, 333}, {3, 9001}}) {
        Array x(dtype, rows * width, data), dy(dtype, rows * width, ordinary), residual(dtype, rows * width, data);
        Array gamma(working(dtype), width, ordinary), beta(working(dtype), width, ordinary);
        Array y(dtype, rows * width), summed(dtype, rows * width);
        Array mean(DType::float64, rows), rstd(DType::float64, rows);
        for (const bool added : {true, false}) {
            table.forward[int(dtype)]({.x = x,
                                       .residual = added ? residual.data() : nullptr,
                                       .gamma = gamma,
                                       .beta = beta,
                                       .y = y,
                                       .summed = summed,
                                       .mean = centered ? static_cast<double*>(mean) : nullptr,
                                       .rstd = rstd,
                                       .rows = rows,
                                       .width = width,
                                       .eps = eps});
            print(name, dtype, data.name, text({rows, width}), {&y, &summed, &mean, &rstd});
        }
        Array dx(dtype, rows * width), dgamma(DType::float64, width), dbeta(DType::float64, width);
        table.backward[int(dtype)]({.dy = dy,
                                    .x = x,
                                    .gamma = gamma,
                                    .mean = mean,
                                    .rstd = rstd,
                                    .dx = dx,
                                    .dgamma = dgamma,
                                    .dbeta = dbeta,
                                    .rows = rows,
                                    .width = width});
        print(name, dtype, data.name, text({rows, width}), {&dx, &dgamma, &dbeta});
    }
}

void layer_norm(DType dtype, const Data& data) { row_norm("layer_norm", *kernels->layer_norm, true, dtype, data); }
void rms_norm(DType dtype, const Data& data) { row_norm("rms_norm", *kernels->rms_norm, false, dtype, data); }

void batch_norm(DType dtype, const Data& data) {
    for (const ChannelLayout layout : {ChannelLayout{1, 300, 67, 1},
                                       {1, 300, 67, 1, ptrdiff_t(1) << 40},
                                       {1, 700, 5, 1},
                                       {2, 12, 9, 49},
                                       {1, 3, 7, 5000}}) {
        const auto [blocks, outer, channels, inner, other_values] = layout;
        const ptrdiff_t size = blocks * outer * channels * inner, units = blocks * channels;
        const std::string shape = text({blocks, outer, channels, inner, other_values});
        Array x(dtype, size, data), dy(dtype, size, ordinary), residual(dtype, size, ordinary);
        Array gamma(working(dtype), channels, ordinary), beta(working(dtype), channels, ordinary);
        Array mean(DType::float64, units), rstd(DType::float64, units), var(DType::float64, units);
        Array y(dtype, size), dx(dtype, size), first(DType::float64, units), second(DType::float64, units);
        Array ones(DType::float64, units);
        kernels->convert->fill[1](ones, 1, units);
        const auto& table = *kernels->batch_norm;
        table.moments[int(dtype)]({.x = x, .mean = mean, .var = rstd, .layout = layout});
        table.backward_sums[int(dtype)](
            {.dy = dy, .x = x, .mean = mean, .rstd = rstd, .sum_dy = first, .sum_dy_xhat = second, .layout = layout});
        table.backward_apply[int(dtype)]({.dy = dy,
                                          .x = x,
                                          .dx = dx,
                                          .mean = mean,
                                          .rstd = rstd,
                                          .gamma = ones,
                                          .mean_h = first,
                                          .mean_hx = second,
                                          .layout = layout});
        print("batch_norm_parts", dtype, data.name, shape, {&mean, &rstd, &first, &second, &dx});
        Array before(DType::float64, 2 * channels, {"", 1, 0.5}), r(DType::float64, units), d(DType::float64, units);
        const double* const running = before;
        const BatchRenorm renorm{
            .mean = running, .std = running + channels, .r_max = 1.5, .d_max = 0.5, .r = r, .d = d};
        table.forward[int(dtype)]({.x = x,
                                   .gamma = gamma,
                                   .beta = beta,
                                   .residual = nullptr,
                                   .y = y,
                                   .mean = mean,
                                   .rstd = rstd,
                                   .var = var,
                                   .layout = layout,
                                   .eps = eps,
                                   .relu = false,
                                   .renorm = &renorm});
        print("batch_renorm", dtype, data.name, shape, {&y, &mean, &rstd, &var, &r, &d});
        for (const bool fused : {false, true}) {
            kernels->batch_norm->forward[int(dtype)]({.x = x,
                                                      .gamma = gamma,
                                                      .beta = beta,
                                                      .residual = fused ? residual.data() : nullptr,
                                                      .y = y,
                                                      .mean = mean,
                                                      .rstd = rstd,
                                                      .var = var,
                                                      .layout = layout,
                                                      .eps = eps,
                                                      .relu = fused});
            print(fused ? "batch_norm_relu_forward" : "batch_norm_forward", dtype, data.name, shape,
                  {&y, &mean, &rstd, &var});
            kernels->batch_norm->apply[int(dtype)]({.x = x,
                                                    .gamma = gamma,
                                                    .beta = beta,
                                                    .residual = fused ? residual.data() : nullptr,
                                                    .y = y,
                                                    .mean = mean,
                                                    .rstd = rstd,
                                                    .layout = layout,
                                                    .relu = fused});
            print(fused ? "batch_norm_relu" : "batch_norm", dtype, data.name, shape, {&y});
            for (const bool training : {false, true}) {
                Array dx(dtype, size), dresidual(dtype, size);
                Array dgamma(DType::float64, channels), dbeta(DType::float64, channels);
                kernels->batch_norm->backward[int(dtype)]({.dy = dy,
                                                           .x = x,
                                                           .gamma = gamma,
                                                           .y = fused ? y.data() : nullptr,
                                                           .mean = mean,
                                                           .rstd = rstd,
                                                           .dx = dx,
                                                           .dresidual = fused ? dresidual.data() : nullptr,
                                                           .dgamma = dgamma,
                                                           .dbeta = dbeta,
                                                           .layout = layout,
                                                           .training = training});
                print(training ? "batch_norm_backward" : "batch_norm_backward_constant", dtype, data.name, shape,
                      {&dx, &dresidual, &dgamma, &dbeta});
            }
        }
    }
}

void group_norm(DType dtype, const Data& data) {
    for (const GroupLayout layout :
         {GroupLayout{3, 1, 2, 3, 5}, {37, 1, 32, 2, 1}, {3, 1, 5, 1, 49}, {2, 1, 3, 2, 700}}) {
        const auto [samples, outer, groups, group_channels, inner] = layout;
        const ptrdiff_t channels = groups * group_channels, size = samples * channels * inner, rows = samples * groups;
        const std::string shape = text({samples, groups, group_channels, inner});
        Array x(dtype, size, data), dy(dtype, size, ordinary);
        Array gamma(working(dtype), channels, ordinary), beta(working(dtype), channels, ordinary);
        Array y(dtype, size), mean(DType::float64, rows), rstd(DType::float64, rows);
        kernels->group_norm->forward[int(dtype)](
            {.x = x, .gamma = gamma, .beta = beta, .y = y, .mean = mean, .rstd = rstd, .layout = layout, .eps = eps});
        print("group_norm_forward", dtype, data.name, shape, {&y, &mean, &rstd});

        Array dx(dtype, size), dgamma(DType::float64, channels), dbeta(DType::float64, channels);
        kernels->group_norm->backward[int(dtype)]({.dy = dy,
                                                   .x = x,
                                                   .gamma = gamma,
                                                   .mean = mean,
                                                   .rstd = rstd,
                                                   .dx = dx,
                                                   .dgamma = dgamma,
                                                   .dbeta = dbeta,
                                                   .layout = layout});
        print("group_norm_backward", dtype, data.name, shape, {&dx, &dgamma, &dbeta});
    }
}

void dropout(DType dtype, const Data& data) {
    const ptrdiff_t rows = 37, width = 271, count = rows * width, bytes = (count + 7) / 8;
    const ptrdiff_t extent[] = {width, rows}, step[] = {0, 1};
    const Decisions decisions{.seed = 7, .rest = uint64_t(1) << 63, .byte = 76, .ties = true};
    const Sharing each_row{.extent = extent, .step = step, .ndim = 2, .decisions = rows};
    const auto& table = *kernels->dropout;
    Array x(dtype, count, data), residual(dtype, count, ordinary), bias(working(dtype), width, ordinary);
    Array y(dtype, count), noise(dtype, count), mask(bytes);
    table.mask({.decisions = decisions, .mask = mask, .count = count});
    print("dropout_mask", dtype, data.name, text({count}), {&mask});
    table.masked[int(dtype)]({.x = x,
                              .y = y,
                              .mask = mask,
                              .count = count,
                              .scale = 1.3,
                              .shift = 0.1,
                              .dropped = 0.2,
                              .decisions = {},
                              .sharing = each_row});
    print("dropout_shared", dtype, data.name, text({rows, width}), {&y});
    table.forward[int(dtype)]({.x = x,
                               .y = y,
                               .mask = mask,
                               .count = count,
                               .scale = 1.3,
                               .shift = 0.1,
                               .dropped = 0.2,
                               .decisions = decisions,
                               .sharing = {}});
    print("dropout_forward", dtype, data.name, text({count}), {&y, &mask});
    table.add[int(dtype)]({.x = x,
                           .bias = bias,
                           .residual = residual,
                           .y = y,
                           .mask = mask,
                           .count = count,
                           .width = width,
                           .scale = 1.3,
                           .decisions = decisions});
    print("add_dropout", dtype, data.name, text({rows, width}), {&y, &mask});
    table.gaussian[int(dtype)]({.x = x, .noise = noise, .y = y, .count = count, .seed = 7, .deviation = 0.5});
    print("gaussian_dropout", dtype, data.name, text({count}), {&y, &noise});
    table.multiply[int(dtype)]({.x = x, .factor = noise, .y = y, .count = count});
    print("gaussian_dropout_backward", dtype, data.name, text({count}), {&y});
}

void parameter_update(DType dtype, const Data& data) {
    static constexpr ptrdiff_t count = 2, sizes[count] = {37, 20011};
    constexpr bool first_step[count] = {true, false};
    const auto& table = *kernels->parameter_update;
    // Arrays of a list, and their addresses.
    struct Arrays {
        std::vector<Array> arrays;
        std::vector<void*> addresses;
        Arrays(DType dtype, const Data& data) {
            for (const ptrdiff_t size : sizes) addresses.push_back(arrays.emplace_back(dtype, size, data).data());
        }
    };
    const auto run = [&](const std::string& name, const char* form, bool with_masters, ParameterUpdate update,
                         const auto& kernel) {
        const DType master = with_masters ? DType::float32 : dtype;
        Arrays w(dtype, data), g(dtype, ordinary), masters(master, data);
        Arrays a(master, ordinary), b(master, positive), c(master, positive);
        Array sums(DType::float64, 3), norms(DType::float64, 2), norm(DType::float64, 2);
        update.weights = {count, sizes, w.addresses.data()};
        update.gradients = g.addresses.data();
        update.masters = with_masters ? masters.addresses.data() : nullptr;
        update.sums = sums;
        kernel(update, a.addresses.data(), b.addresses.data(), c.addresses.data());
        table.weight_norms[int(dtype)]({update.weights, norms});
        table.norm[int(dtype)]({update.weights, norm});
        table.scale[int(dtype)]({.arrays = update.weights, .factor = 0.3});
        std::vector<const Array*> results{&sums, &norms, &norm};
        for (const Arrays* list : {&w, &g, &a, &b, &c, &masters})
            for (const Array& array : list->arrays) results.push_back(&array);
        print(name + (with_masters ? "_masters" : ""), dtype, data.name, form, results);
    };
    const struct {
        const char* name;
        SgdUpdate sgd;
    } sgd_forms[] = {
        {"plain", {.update = {.grad_scale = 1, .rate = 0.1}}},
        {"momentum",
         {.update = {.grad_scale = -0.5, .rate = 0.1, .coupled = {0.01, 0}}, .momentum = 0.9, .dampening = 0.1}},
        {"nesterov",
         {.update = {.grad_scale = 1, .rate = 0.1, .decoupled = {0.01, 0.02}}, .momentum = 0.9, .nesterov = true}},
        {"proximal", {.update = {.grad_scale = 1, .rate = 0.1, .threshold = 0.05, .zero_grad = true}, .momentum = 0.9}},
    };
    const struct {
        const char* name;
        bool amsgrad;
        ParameterUpdate update;
    } adam_forms[] = {
        {"plain", false, {.grad_scale = 1, .rate = 1}},
        {"amsgrad", true, {.grad_scale = -0.5, .rate = 1, .coupled = {0.01, 0}}},
        {"decoupled", false, {.grad_scale = 1, .rate = 1, .decoupled = {0.01, 0.02}}},
        {"proximal", true, {.grad_scale = 1, .rate = 1, .threshold = 0.05, .zero_grad = true}},
    };
    for (const bool with_masters : {false, true}) {
        if (with_masters && dtype_bytes[int(dtype)] > 2) continue;
        for (auto [name, sgd] : sgd_forms)
            run("sgd_update", name, with_masters, sgd.update, [&](const ParameterUpdate& update, auto v, auto, auto) {
                sgd.update = update;
                sgd.velocities = sgd.momentum != 0 ? v : nullptr;
                sgd.first_step = first_step;
                table.sgd[int(dtype)](sgd);
            });
        for (const auto& [name, amsgrad, update] : adam_forms)
            run("adam_update", name, with_masters, update,
                [&, amsgrad = amsgrad](const ParameterUpdate& update, auto m, auto v, auto u) {
                table.adam[int(dtype)]({.update = update,
                                        .averages = m,
                                        .squares = v,
                                        .largest_squares = amsgrad ? u : nullptr,
                                        .beta1 = 0.9,
                                        .beta2 = 0.99,
                                        .eps = 1e-3,
                                        .step_size = 0.1,
                                        .root_correction = 0.3});
            });
    }
}

void max_norm(DType dtype, const Data& data) {
    for (const auto& [rows, width] : {std::pair<ptrdiff_t, ptrdiff_t>{67, 5}, {9, 333}}) {
        Array x(dtype, rows * width, data), y(dtype, rows * width);
        kernels->max_norm->project[int(dtype)]({.x = x, .y = y, .rows = rows, .width = width, .limit = 3});
        print("max_norm", dtype, data.name, text({rows, width}), {&y});
    }
}

void activation(DType dtype, const Data& data) {
    const ptrdiff_t count = 10007;
    const auto& table = *kernels->activation;
    Array x(dtype, count, data), dy(dtype, count, ordinary);
    bool approximate = false;
    const auto both = [&](const char* name, const auto& forward, const auto& backward) {
        Array y(dtype, count), dx(dtype, count);
        forward[int(dtype)]({.x = x, .y = y, .count = count, .slope = 0.3, .approximate = approximate});
        backward[int(dtype)]({.dy = dy, .y = y, .dx = dx, .count = count, .slope = 0.3, .approximate = approximate});
        print(name, dtype, data.name, text({count}), {&y, &dx});
    };
    both("relu", table.relu, table.relu_backward);
    both("leaky_relu", table.leaky_relu, table.leaky_relu_backward);
    both("sigmoid", table.sigmoid, table.sigmoid_backward);
    both("tanh", table.tanh, table.tanh_backward);
    both("silu", table.silu, table.silu_backward);
    both("gelu", table.gelu, table.gelu_backward);
    approximate = true;
    both("gelu_approximate", table.gelu, table.gelu_backward);
}

void softmax(DType dtype, const Data& data) {
    const auto& table = *kernels->softmax;
    for (const auto& [rows, width] : {std::pair<ptrdiff_t, ptrdiff_t>{67, 5}, {9, 1003}}) {
        Array x(dtype, rows * width, data), dy(dtype, rows * width, ordinary), y(dtype, rows * width), dx = y;
        const auto both = [&](const char* name, auto& forward, auto& backward) {
            forward[int(dtype)]({.x = x, .y = y, .rows = rows, .width = width});
            backward[int(dtype)]({.dy = dy, .y = y, .dx = dx, .rows = rows, .width = width});
            print(name, dtype, data.name, text({rows, width}), {&y, &dx});
        };
        both("softmax", table.softmax, table.softmax_backward);
        both("log_softmax", table.log_softmax, table.log_softmax_backward);
    }
}

void losses(DType dtype, const Data& data) {
    const auto& table = *kernels->losses;
    for (const auto& [rows, classes] : {std::pair<ptrdiff_t, ptrdiff_t>{67, 5}, {9, 1003}}) {
        std::vector<int64_t> labels;
        for (ptrdiff_t row = 0; row < rows; ++row) labels.push_back(row % classes);
        Array logits(dtype, rows * classes, data), probabilities(working(dtype), rows * classes, ordinary);
        Array weight(DType::float64, classes, ordinary), sample_weight(DType::float64, rows, ordinary);
        Array dlogits(dtype, rows * classes);
        Array values(DType::float64, rows), loss(DType::float64, 1);
        for (const bool ids : {false, true}) {
            table.softmax_cross_entropy[int(dtype)](
                {.logits = logits,
                 .labels = ids ? labels.data() : nullptr,
                 .probabilities = probabilities,
                 .class_weight = weight,
                 .sample_weight = ids ? static_cast<double*>(sample_weight) : nullptr,
                 .dlogits = dlogits,
                 .losses = values,
                 .loss = loss,
                 .rows = rows,
                 .classes = classes,
                 .ignored = 3,
                 .label_smoothing = 0.1,
                 .mean = true});
            print(ids ? "softmax_cross_entropy" : "softmax_cross_entropy_probabilities", dtype, data.name,
                  text({rows, classes}), {&dlogits, &values, &loss});
        }
    }
    const ptrdiff_t count = 10007;
    Array pred(dtype, count, data), target(working(dtype), count, ordinary), dpred(dtype, count);
    Array values(DType::float64, count), loss(DType::float64, 1), weight(DType::float64, count, ordinary);
    for (const bool weighted : {false, true}) {
        const ElementwiseLoss of_elements{.pred = pred,
                                          .target = target,
                                          .sample_weight = weighted ? static_cast<double*>(weight) : nullptr,
                                          .dpred = dpred,
                                          .losses = values,
                                          .loss = loss,
                                          .count = count,
                                          .inner = 1,
                                          .scale = 2,
                                          .divisor = 7};
        const auto print_loss = [&](const char* name) {
            print(name, dtype, data.name, text({count, weighted}), {&dpred, &values, &loss});
        };
        table.huber[int(dtype)]({.loss = of_elements, .delta = 0.5});
        print_loss("huber");
        table.mae[int(dtype)](of_elements);
        print_loss("mae");
        table.binary_cross_entropy[int(dtype)](
            {.loss = of_elements, .pos_weight = weight, .columns = 13, .label_smoothing = 0.1});
        print_loss("binary_cross_entropy");
    }
}

void convolution(DType dtype, const Data& data) {
    for (const Size2d& dilation : {Size2d{1, 1}, Size2d{2, 1}}) {
        const ConvolutionLayout layout{.samples = 3,
                                       .groups = 2,
                                       .channels = 5,
                                       .outputs = 37,
                                       .image = {17, 19},
                                       .kernel = {3, 2},
                                       .padding = {1, 1},
                                       .stride = {1, 2},
                                       .input_dilation = dilation,
                                       .output = {18, 10}};
        Array x(dtype, 3 * 17 * 19 * 10, data), dy(dtype, 3 * 18 * 10 * 74, ordinary), y(dtype, 3 * 18 * 10 * 74);
        Array weight(working(dtype), 2 * 6 * 5 * 37, ordinary), bias(working(dtype), 74, ordinary);
        Array dweight(working(dtype), 2 * 6 * 5 * 37);
        kernels->convolution->forward[int(dtype)]({.x = x, .weight = weight, .bias = bias, .y = y, .layout = layout});
        kernels->convolution->weights[int(dtype)]({.dy = dy, .x = x, .dweight = dweight, .layout = layout});
        print("convolution", dtype, data.name, text({dilation.height, dilation.width}), {&y, &dweight});
    }
}

void max_pool(DType dtype, const Data& data) {
    for (const ptrdiff_t channels : {1, 37}) {
        const PoolLayout layout{.samples = 3,
                                .channels = channels,
                                .image = {9, 11},
                                .kernel = {3, 2},
                                .padding = {1, 0},
                                .stride = {2, 1},
                                .output = {5, 11}};
        Array x(dtype, 3 * 9 * 11 * channels, data), dx(dtype, 3 * 9 * 11 * channels);
        Array y(dtype, 3 * 5 * 11 * channels), dy(dtype, 3 * 5 * 11 * channels, ordinary);
        kernels->max_pool->forward[int(dtype)]({.x = x, .y = y, .layout = layout});
        kernels->max_pool->backward[int(dtype)]({.dy = dy, .x = x, .y = y, .dx = dx, .layout = layout});
        print("max_pool", dtype, data.name, text({channels}), {&y, &dx});
    }
}

void avg_pool(DType dtype, const Data& data) {
    for (const ptrdiff_t channels : {1, 37})
        for (const bool count_include_pad : {false, true}) {
            const PoolLayout layout{.samples = 3,
                                    .channels = channels,
                                    .image = {9, 11},
                                    .kernel = {3, 2},
                                    .padding = {1, 1},
                                    .stride = {2, 1},
                                    .output = {5, 12}};
            Array x(dtype, 3 * 9 * 11 * channels, data), dx(dtype, 3 * 9 * 11 * channels);
            Array y(dtype, 3 * 5 * 12 * channels), dy(dtype, 3 * 5 * 12 * channels, ordinary);
            AvgPool pool{.from = x,
                         .to = y,
                         .layout = layout,
                         .backward = false,
                         .count_include_pad = count_include_pad,
                         .bytes = dtype_bytes[int(dtype)],
                         .widen = kernels->convert->widen[int(dtype)][1],
                         .narrow = kernels->convert->narrow[int(dtype)]};
            kernels->avg_pool->pool(pool);
            pool.from = dy, pool.to = dx, pool.backward = true;
            kernels->avg_pool->pool(pool);
            print("avg_pool", dtype, data.name, text({channels, count_include_pad}), {&y, &dx});
        }
}
}  // namespace

int main() {
    choose_isa();
    configure_memory();
    configure_threads();
    for (const auto family : {convert, transpose, layer_norm, rms_norm, batch_norm, group_norm, dropout,
                              parameter_update, max_norm, activation, softmax, losses, convolution, max_pool, avg_pool})
        for (const DType dtype : dtypes)
            for (const Data& data : all_data)
                if (holds(dtype, data)) family(dtype, data);
}
