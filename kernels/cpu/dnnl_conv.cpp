#include "kernels/cpu/dnnl_conv.h"

namespace ringlet::cpu {
namespace {

using dnnl::memory;
using dnnl::prop_kind;

struct Descs {
  memory::desc src, weights, dweights, bias, dst;
  memory::dims strides, padding;
};

memory::dim dim(std::size_t size) { return static_cast<memory::dim>(size); }

Descs descs_of(const DnnlConvRequest& request) {
  const ConvShape& s = request.shape;
  constexpr auto kF32 = memory::data_type::f32;
  Descs d;
  d.src = {
      {dim(s.n), dim(s.c), dim(s.h), dim(s.w)}, request.type, request.src_tag};
  const memory::dims filters{dim(s.k), dim(s.c), dim(s.kernel_h),
                             dim(s.kernel_w)};
  d.weights = {filters, request.type, memory::format_tag::any};
  d.dweights = {filters, kF32, memory::format_tag::any};
  // A descriptor without dimensions means that there is no bias.
  if (request.bias) d.bias = {{dim(s.k)}, kF32, memory::format_tag::a};
  d.dst = {{dim(s.n), dim(s.k), dim(s.out_h()), dim(s.out_w())},
           request.type,
           request.dst_tag};
  d.strides = {dim(s.stride), dim(s.stride)};
  d.padding = {dim(s.padding), dim(s.padding)};
  return d;
}

// The scratch memory is ours, so that one piece serves every convolution.
dnnl::primitive_attr attributes() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

#if DNNL_VERSION_MAJOR >= 3

auto forward_desc(const dnnl::engine& engine, const DnnlConvRequest& request,
                  const Descs& d) {
  return dnnl::convolution_forward::primitive_desc(
      engine, prop_kind::forward_training, request.algorithm, d.src, d.weights,
      d.bias, d.dst, d.strides, d.padding, d.padding, attributes());
}

auto backward_data_desc(const dnnl::engine& engine,
                        const DnnlConvRequest& request, const Descs& d) {
  return dnnl::convolution_backward_data::primitive_desc(
      engine, request.algorithm, d.src, d.weights, d.dst, d.strides, d.padding,
      d.padding, forward_desc(engine, request, d), attributes());
}

auto backward_weights_desc(const dnnl::engine& engine,
                           const DnnlConvRequest& request, const Descs& d) {
  return dnnl::convolution_backward_weights::primitive_desc(
      engine, request.algorithm, d.src, d.dweights, d.bias, d.dst, d.strides,
      d.padding, d.padding, forward_desc(engine, request, d), attributes());
}

#else

auto forward_desc(const dnnl::engine& engine, const DnnlConvRequest& request,
                  const Descs& d) {
  return dnnl::convolution_forward::primitive_desc(
      {prop_kind::forward_training, request.algorithm, d.src, d.weights, d.bias,
       d.dst, d.strides, d.padding, d.padding},
      attributes(), engine);
}

auto backward_data_desc(const dnnl::engine& engine,
                        const DnnlConvRequest& request, const Descs& d) {
  return dnnl::convolution_backward_data::primitive_desc(
      {request.algorithm, d.src, d.weights, d.dst, d.strides, d.padding,
       d.padding},
      attributes(), engine, forward_desc(engine, request, d));
}

auto backward_weights_desc(const dnnl::engine& engine,
                           const DnnlConvRequest& request, const Descs& d) {
  return dnnl::convolution_backward_weights::primitive_desc(
      {request.algorithm, d.src, d.dweights, d.bias, d.dst, d.strides,
       d.padding, d.padding},
      attributes(), engine, forward_desc(engine, request, d));
}

#endif

}  // namespace

DnnlConv make_dnnl_conv(const dnnl::engine& engine,
                        const DnnlConvRequest& request) {
  const Descs d = descs_of(request);
  switch (request.pass) {
    case ConvPass::kForward: {
      const auto pd = forward_desc(engine, request, d);
      return {dnnl::convolution_forward(pd), pd.src_desc(), pd.weights_desc(),
              pd.dst_desc(), pd.scratchpad_desc()};
    }
    case ConvPass::kBackwardData: {
      const auto pd = backward_data_desc(engine, request, d);
      return {dnnl::convolution_backward_data(pd), pd.diff_src_desc(),
              pd.weights_desc(), pd.diff_dst_desc(), pd.scratchpad_desc()};
    }
    case ConvPass::kBackwardWeights:
      break;
  }
  const auto pd = backward_weights_desc(engine, request, d);
  return {dnnl::convolution_backward_weights(pd), pd.src_desc(),
          pd.diff_weights_desc(), pd.diff_dst_desc(), pd.scratchpad_desc()};
}

}  // namespace ringlet::cpu
