// Stands in for a profiler: NVTX loads this library where
// NVTX_INJECTION64_PATH names it. Writes each range's begin and end to standard
// output.
#include <nvtx3/nvToolsExt.h>

#include <cstdio>

namespace {

int NVTX_API begin_range(const char* name) {
  return std::printf("nvtx begin %s\n", name);
}
int NVTX_API end_range() { return std::printf("nvtx end\n"); }

void replace(NvtxFunctionTable table, int function, NvtxFunctionPointer by) {
  *table[function] = by;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int InitializeInjectionNvtx2(
    NvtxGetExportTableFunc_t get_table) {
  const auto* callbacks = static_cast<const NvtxExportTableCallbacks*>(
      get_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned int size = 0;
  if (callbacks == nullptr || callbacks->GetModuleFunctionTable(
                                  NVTX_CB_MODULE_CORE, &table, &size) == 0) {
    return 0;
  }
  replace(table, NVTX_CBID_CORE_RangePushA,
          reinterpret_cast<NvtxFunctionPointer>(begin_range));
  replace(table, NVTX_CBID_CORE_RangePop,
          reinterpret_cast<NvtxFunctionPointer>(end_range));
  return 1;
}
