// Runs a network that `meshconv export --to aoti` compiled, without Python:
//   run_exported aoti.pt2 inputs.pt output.pt [_C.abi3.so]
// inputs.pt holds the inputs in the order of preprocess.json: torch.save(list(prepared.steps[0].values()), "inputs.pt").
// output.pt holds the output: torch.load("output.pt"). The last argument is the library of the operators,
// python -c 'import torch, meshconv._C as c; print(c.__file__)'.
//
// torch=$(python -c 'import torch; print(torch.__path__[0])')
// g++ -std=c++20 -O2 examples/run_exported.cpp -o run_exported -I$torch/include -I$torch/include/torch/csrc/api/include \
//     -L$torch/lib -Wl,-rpath,$torch/lib -Wl,--no-as-needed -ltorch -ltorch_cpu -lc10 -ldl
#include <dlfcn.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

static std::vector<at::Tensor> read_tensors(const char* path) {
  std::ifstream file(path, std::ios::binary);
  TORCH_CHECK(file, path, ": cannot be read");
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  const c10::IValue list = torch::pickle_load(bytes);
  std::vector<at::Tensor> tensors;
  for (const c10::IValue& value : list.toListRef()) tensors.push_back(value.toTensor());
  return tensors;
}

static void write_tensor(const at::Tensor& tensor, const char* path) {
  const std::vector<char> bytes = torch::pickle_save(tensor);
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  TORCH_CHECK(file, path, ": cannot be written");
}

int main(int count, char** arguments) {
  if (count < 4) {
    std::cerr << "usage: run_exported aoti.pt2 inputs.pt output.pt [library of the operators]\n";
    return 2;
  }
  // Symbols of Python in it are for its use there, and are not looked up.
  if (count > 4 && dlopen(arguments[4], RTLD_LAZY | RTLD_GLOBAL) == nullptr) {
    std::cerr << dlerror() << "\n";
    return 2;
  }
  try {
    const c10::InferenceMode mode;
    torch::inductor::AOTIModelPackageLoader network(arguments[1]);
    const std::vector<at::Tensor> inputs = read_tensors(arguments[2]);
    network.run(inputs);  // the first run allocates
    const auto start = std::chrono::steady_clock::now();
    const at::Tensor output = network.run(inputs)[0];
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
    write_tensor(output, arguments[3]);
    std::cout << "output " << output.sizes() << ", " << time.count() << " ms\n";
  } catch (const std::exception& error) {
    const std::string said = error.what();
    std::cerr << said.substr(0, said.find('\n')) << "\n";  // without the stack
    return 1;
  }
  return 0;
}
