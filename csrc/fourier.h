// Arguments of the Fourier nonlinearity, checked for every device.
#pragma once

#include <string>

#include "checks.h"
#include "cpu/fourier.h"

namespace meshconv {

constexpr int64_t kMaxSamples = int64_t{1} << 20;  // the table of waves stays within 32-bit sizes

struct FourierArguments {
  Tensor x, g, h;  // [rows, parts, channels], contiguous; g and h only where the derivative has them
  int derivative;
  Activation activation;
  int64_t samples;
  int64_t rows() const { return x.size(0); }
  int64_t parts() const { return x.size(1); }
  int64_t channels() const { return x.size(2); }
};

inline FourierArguments check_fourier(const char* op, const std::vector<Tensor>& features, int64_t samples,
                                      const std::string& activation) {
  const Tensor& x = features[0];
  check_real(op, "x", x);
  STD_TORCH_CHECK(x.dim() == 3 && x.size(1) % 2 == 1 && x.size(1) <= kMaxParts, op, ": x has shape ", shape_of(x),
                  ", expected [rows, 2 M + 1, channels] with an order M of at most ", kMaxParts / 2);
  STD_TORCH_CHECK(samples >= x.size(1), op, ": ", samples, " samples do not resolve ", x.size(1), " components");
  STD_TORCH_CHECK(samples <= kMaxSamples, op, ": ", samples, " samples are more than ", kMaxSamples);
  STD_TORCH_CHECK(activation == "relu" || activation == "silu", op, ": activation '", activation,
                  "' is not 'relu' or 'silu'");
  FourierArguments a;
  a.derivative = static_cast<int>(features.size()) - 1;
  a.activation = activation == "relu" ? Activation::relu : Activation::silu;
  a.samples = samples;
  const std::vector<int64_t> shape{x.size(0), x.size(1), x.size(2)};
  a.x = check_tensor(op, "x", x, x, false, shape);
  if (a.derivative > 0) a.g = check_tensor(op, "grad", features[1], x, false, shape);
  if (a.derivative > 1) a.h = check_tensor(op, "grad_grad", features[2], x, false, shape);
  return a;
}

}  // namespace meshconv
