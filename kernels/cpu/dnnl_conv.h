#pragma once

#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/conv.h"

// The one place that knows how versions 2 and 3 of oneDNN differ.
namespace ringlet::cpu {

enum class ConvPass { kForward, kBackwardData, kBackwardWeights };

// A compiled convolution and the layouts it wants.
struct DnnlConv {
  dnnl::primitive primitive;
  dnnl::memory::desc src, weights, dst, scratchpad;
};

struct DnnlConvRequest {
  ConvShape shape;
  ConvPass pass;
  dnnl::memory::data_type type;  // of all but biases and dweights: f32
  dnnl::memory::format_tag src_tag, dst_tag;
  bool bias;
  dnnl::algorithm algorithm;
};

// Throws dnnl::error where oneDNN has no such kernel.
DnnlConv make_dnnl_conv(const dnnl::engine& engine,
                        const DnnlConvRequest& request);

}  // namespace ringlet::cpu
