// CPU operators of the Fourier nonlinearity. Rows are independent: the same bits for any number of threads.
#include <algorithm>
#include <cmath>

#include "../fourier.h"
#include "../operators.h"
#include "isa.h"

namespace meshconv {
namespace {

template <typename T>
Tensor fourier(const FourierArguments& a) {
  const int64_t parts = a.parts(), samples = a.samples;
  std::vector<T> waves(samples * parts), scale(parts, T(2.0 / static_cast<double>(samples)));
  scale[0] = T(1.0 / static_cast<double>(samples));
  for (int64_t k = 0; k < samples; ++k) {
    waves[k * parts] = T(1);
    for (int64_t m = 1; m <= parts / 2; ++m) {
      // Reduced before the rounding, so that the angle is exact to one rounding at every order.
      const double angle = 2 * 3.14159265358979323846 * static_cast<double>(m * k % samples) / static_cast<double>(samples);
      waves[k * parts + 2 * m - 1] = static_cast<T>(std::cos(angle));
      waves[k * parts + 2 * m] = static_cast<T>(std::sin(angle));
    }
  }
  const FourierTable<T> table{parts, samples, waves.data(), scale.data()};
  Tensor out = torch::stable::new_empty(a.x, {a.rows(), parts, a.channels()});
  const FourierRows<T> rows{a.x.const_data_ptr<T>(), a.derivative > 0 ? a.g.const_data_ptr<T>() : nullptr,
                            a.derivative > 1 ? a.h.const_data_ptr<T>() : nullptr, out.mutable_data_ptr<T>(),
                            a.channels()};
  const FourierKernel<T> run = best_kernels<T>().fourier;
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, a.channels() * samples));
  torch::stable::parallel_for(0, a.rows(), grain, [&](int64_t begin, int64_t end) {
    run(a.activation, a.derivative, table, rows, begin, end - begin);
  });
  return out;
}

Tensor dispatch(const FourierArguments& a) {
  return a.x.scalar_type() == torch::headeronly::ScalarType::Float ? fourier<float>(a) : fourier<double>(a);
}

}  // namespace

Tensor fourier_act_cpu(Tensor x, int64_t samples, std::string activation) {
  return dispatch(check_fourier("fourier_act", {x}, samples, activation));
}

Tensor fourier_act_grad_cpu(Tensor x, Tensor grad, int64_t samples, std::string activation) {
  return dispatch(check_fourier("fourier_act_grad", {x, grad}, samples, activation));
}

Tensor fourier_act_curvature_cpu(Tensor x, Tensor grad, Tensor grad_grad, int64_t samples, std::string activation) {
  return dispatch(check_fourier("fourier_act_curvature", {x, grad, grad_grad}, samples, activation));
}

}  // namespace meshconv
