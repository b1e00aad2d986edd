// Common includes of the bindings, and their list.
#pragma once
#include "../dispatch.h"
#include "../layout.h"
#include "../output.h"
#include "../parameter.h"

namespace trimtab {

void bind_activation(PyObject* module);
void bind_adam(PyObject* module);
void bind_avg_pool(PyObject* module);
void bind_batch_norm(PyObject* module);
void bind_batch_norm_parts(PyObject* module);
void bind_batch_renorm(PyObject* module);
void bind_convolution(PyObject* module);
void bind_dropout(PyObject* module);
void bind_fold_batch_norm(PyObject* module);
void bind_group_norm(PyObject* module);
void bind_images(PyObject* module);
void bind_layer_norm(PyObject* module);
void bind_losses(PyObject* module);
void bind_max_norm(PyObject* module);
void bind_max_pool(PyObject* module);
void bind_parameter_update(PyObject* module);
void bind_reading(PyObject* module);
void bind_rms_norm(PyObject* module);
void bind_sgd(PyObject* module);
void bind_softmax(PyObject* module);
void bind_system(PyObject* module);
}  // namespace trimtab
