/* Stands in for NVIDIA's driver library where a machine has none, so that libmxnet.so can be loaded and computes on the
   CPU: the ten functions of the driver that it is linked against, and cuInit, with which whoever else asks for GPUs
   begins. Each answers that there is no device. train/job/cuda.py loads it, and never where there is a driver. */

#define NO_DEVICE(function) \
    int function(void) { return 100; } /* CUDA_ERROR_NO_DEVICE; a caller's arguments are left alone */

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
