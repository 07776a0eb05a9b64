#include "kernels/conv.h"

#include <compare>
#include <map>
#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/backend.h"
#include "kernels/cpu/conv_table.h"
#include "kernels/cpu/dnnl_conv.h"
#include "kernels/cpu/families.h"
#include "kernels/runtime/buffer.h"
#include "kernels/runtime/check.h"

namespace ringlet::cpu {
namespace {

using dnnl::memory;
using Arguments = std::unordered_map<int, memory>;

memory::format_tag tag_of(Layout layout) {
  switch (layout) {
    case Layout::kBlocked8:
      return memory::format_tag::nChw8c;
    case Layout::kBlocked16:
      return memory::format_tag::nChw16c;
    case Layout::kChannelsLast:
      return memory::format_tag::nhwc;
    case Layout::kPlain:
      break;
  }
  return memory::format_tag::nchw;
}

memory::data_type type_of(Dtype dtype) {
  return dtype == Dtype::kBF16 ? memory::data_type::bf16
                               : memory::data_type::f32;
}

memory::desc plain_weights(const ConvShape& s, Dtype dtype) {
  const auto dim = [](std::size_t v) { return static_cast<memory::dim>(v); };
  return {{dim(s.k), dim(s.c), dim(s.kernel_h), dim(s.kernel_w)},
          type_of(dtype),
          memory::format_tag::oihw};
}

// Memory that grows to the largest request and is then reused.
class Scratch {
 public:
  void* get(std::size_t bytes) {
    if (bytes > buffer_.bytes()) buffer_ = Buffer::allocate(bytes);
    return buffer_.data();
  }

 private:
  Buffer buffer_;
};

// oneDNN's convolutions. Each (shape, pass) is compiled once and kept.
class Conv final : public ConvKernels {
 public:
  void forward(const ConvArgs& args, const void* x, const void* weight,
               const float* bias, void* y) override {
    const ConvShape& shape = args.shape;
    checked("forward", args, [&] {
      const DnnlConv& conv =
          compiled({args, ConvPass::kForward, bias != nullptr});
      Arguments arguments{
          {DNNL_ARG_SRC, wrap(conv.src, x)},
          {DNNL_ARG_WEIGHTS, arranged_weights(args, conv, weight)},
          {DNNL_ARG_DST, wrap(conv.dst, y)}};
      if (bias != nullptr) arguments[DNNL_ARG_BIAS] = vector_of(shape.k, bias);
      execute(conv, arguments);
    });
  }

  void backward_data(const ConvArgs& args, const void* dy, const void* weight,
                     void* dx) override {
    checked("backward_data", args, [&] {
      const DnnlConv& conv = compiled({args, ConvPass::kBackwardData, false});
      Arguments arguments{
          {DNNL_ARG_DIFF_DST, wrap(conv.dst, dy)},
          {DNNL_ARG_WEIGHTS, arranged_weights(args, conv, weight)},
          {DNNL_ARG_DIFF_SRC, wrap(conv.src, dx)}};
      execute(conv, arguments);
    });
  }

  void backward_weights(const ConvArgs& args, const void* x, const void* dy,
                        float* dweight, float* dbias) override {
    const ConvShape& shape = args.shape;
    checked("backward_weights", args, [&] {
      const DnnlConv& conv =
          compiled({args, ConvPass::kBackwardWeights, dbias != nullptr});
      const memory::desc plain = plain_weights(shape, Dtype::kF32);
      const bool as_is = conv.weights == plain;
      memory result =
          as_is ? wrap(plain, dweight)
                : wrap(conv.weights, weights_.get(conv.weights.get_size()));
      Arguments arguments{{DNNL_ARG_SRC, wrap(conv.src, x)},
                          {DNNL_ARG_DIFF_DST, wrap(conv.dst, dy)},
                          {DNNL_ARG_DIFF_WEIGHTS, result}};
      if (dbias != nullptr) {
        arguments[DNNL_ARG_DIFF_BIAS] = vector_of(shape.k, dbias);
      }
      execute(conv, arguments);
      if (!as_is) copy(result, wrap(plain, dweight));
    });
  }

 private:
  // oneDNN's own exceptions become ours at this border.
  template <typename Call>
  static void checked(const char* pass, const ConvArgs& args, Call call) {
    check_type(args.dtype);
    const ConvShape& s = args.shape;
    try {
      call();
    } catch (const dnnl::error& error) {
      throw Error(fmt::format(
          "oneDNN failed in convolution {} of [{}, {}, {}, {}] with {} filters "
          "{}x{}, stride {}, padding {}: {} (status {})",
          pass, s.n, s.c, s.h, s.w, s.k, s.kernel_h, s.kernel_w, s.stride,
          s.padding, error.what(), static_cast<int>(error.status)));
    }
  }

  struct Key {
    ConvArgs args;
    ConvPass pass;
    bool bias;
    ConvAlgorithm algorithm = conv_algorithm();
    auto operator<=>(const Key&) const = default;
  };

  const DnnlConv& compiled(const Key& key) {
    const auto found = compiled_.find(key);
    if (found != compiled_.end()) return found->second;
    return compiled_.emplace(key, compile(key)).first->second;
  }

  DnnlConv compile(const Key& key) {
    DnnlConvRequest request{key.args.shape,
                            key.pass,
                            type_of(key.args.dtype),
                            tag_of(key.args.x_layout),
                            tag_of(activation_layout()),
                            key.bias,
                            dnnl::algorithm::convolution_winograd};
    const bool winograd = key.algorithm == ConvAlgorithm::kWinograd ||
                          (key.algorithm == ConvAlgorithm::kAutomatic &&
                           prefers_winograd(key.args.shape));
    if (winograd) {
      try {
        return make_dnnl_conv(engine_, request);
      } catch (const dnnl::error& error) {
        if (error.status != dnnl_unimplemented) throw;
      }
    }
    request.algorithm = dnnl::algorithm::convolution_direct;
    return make_dnnl_conv(engine_, request);
  }

  // oneDNN's interface takes pointers to inputs as it does those to outputs.
  memory wrap(const memory::desc& desc, const void* data) {
    return memory(desc, engine_, const_cast<void*>(data));
  }

  memory vector_of(std::size_t count, const float* data) {
    return wrap({{static_cast<memory::dim>(count)},
                 memory::data_type::f32,
                 memory::format_tag::a},
                data);
  }

  // The plain weights in the layout that the kernel wants.
  memory arranged_weights(const ConvArgs& args, const DnnlConv& conv,
                          const void* weight) {
    memory plain = wrap(plain_weights(args.shape, args.dtype), weight);
    if (plain.get_desc() == conv.weights) return plain;
    memory arranged = wrap(conv.weights, weights_.get(conv.weights.get_size()));
    copy(plain, arranged);
    return arranged;
  }

  void copy(const memory& from, const memory& to) {
    dnnl::reorder(from, to).execute(stream_, const_cast<memory&>(from),
                                    const_cast<memory&>(to));
    stream_.wait();
  }

  void execute(const DnnlConv& conv, Arguments& arguments) {
    arguments[DNNL_ARG_SCRATCHPAD] =
        wrap(conv.scratchpad, scratchpad_.get(conv.scratchpad.get_size()));
    conv.primitive.execute(stream_, arguments);
    stream_.wait();
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::map<Key, DnnlConv> compiled_;
  Scratch weights_;
  Scratch scratchpad_;
};

}  // namespace

std::unique_ptr<ConvKernels> make_conv() { return std::make_unique<Conv>(); }

}  // namespace ringlet::cpu
