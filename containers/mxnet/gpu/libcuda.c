/* A stub of NVIDIA's driver library. With it, libmxnet.so can be loaded on a machine without a driver and compute on
   the CPU. The stub has the ten functions that libmxnet.so is linked against, and cuInit, which other programs call
   first to find GPUs. All return the error code for a missing device. train/job/cuda.py loads this library only if
   there is no driver. */

#define NO_DEVICE(function) \
    int function(void) { return 100; } /* CUDA_ERROR_NO_DEVICE; the arguments are ignored */

NO_DEVICE(cuInit)

NO_DEVICE(cuDeviceGet)
NO_DEVICE(cuDevicePrimaryCtxRetain)
NO_DEVICE(cuGetErrorString)
NO_DEVICE(cuGraphKernelNodeGetParams)
NO_DEVICE(cuGraphNodeGetType)
NO_DEVICE(cuLaunchKernel)
NO_DEVICE(cuModuleGetFunction)
NO_DEVICE(cuModuleLoadData)
NO_DEVICE(cuModuleLoadDataEx)
NO_DEVICE(cuModuleUnload)
