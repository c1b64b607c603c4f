# Where the installed torch has its headers and libraries: asked of Python itself. torch's own CMake
# package would want a CUDA toolkit beside a CUDA build of torch, which an extension for CPU tensors
# does not need.
execute_process(
  COMMAND ${Python_EXECUTABLE} -c "
import torch
from torch.utils import cpp_extension as e
print(torch.__version__)
print(';'.join(e.include_paths()))
print(';'.join(e.library_paths()))
print(int(torch.compiled_with_cxx11_abi()))"
  OUTPUT_VARIABLE _torch OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE _failed
  ERROR_VARIABLE _torch_error)
if(_failed)
  message(FATAL_ERROR "torch >= 2.11 must be installed for ${Python_EXECUTABLE}: ${_torch_error}")
endif()
string(REPLACE ";" "\\;" _torch "${_torch}")
string(REPLACE "\n" ";" _torch "${_torch}")
list(GET _torch 0 TORCH_VERSION)
list(GET _torch 1 TORCH_INCLUDE_DIRS)
list(GET _torch 2 _torch_library_dirs)
list(GET _torch 3 _torch_cxx11_abi)
if(TORCH_VERSION VERSION_LESS 2.11)
  message(FATAL_ERROR "torch ${TORCH_VERSION} is installed; 2.11 or newer is needed")
endif()
message(STATUS "Building against torch ${TORCH_VERSION}")

set(TORCH_DEFINITIONS _GLIBCXX_USE_CXX11_ABI=${_torch_cxx11_abi})
set(TORCH_LIBRARIES)
foreach(_name c10 torch_cpu torch torch_python)
  # Not cached: another Python may have another torch.
  find_library(_library_${_name} ${_name} PATHS ${_torch_library_dirs}
               NO_DEFAULT_PATH NO_CACHE REQUIRED)
  list(APPEND TORCH_LIBRARIES ${_library_${_name}})
  unset(_library_${_name})
endforeach()
