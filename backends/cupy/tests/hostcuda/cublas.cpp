// The functions of cuBLAS that the backend calls, on the host, as their documentation describes them.
#include <cstddef>
#include "numbers.h"
#include "record.h"

static Type type_of(int number) { return number == 14 ? BFLOAT : (Type)number; }  // cudaDataType

extern "C" {
int cublasCreate_v2(void **handle) { *handle = new char; return 0; }
int cublasDestroy_v2(void *handle) { delete (char *)handle; return 0; }
int cublasSetStream_v2(void *, void *) { return 0; }
int cublasSetWorkspace_v2(void *, void *, size_t) { return 0; }
int cublasGemmStridedBatchedEx(void *, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int type_a, int lda,
                               long long step_a, const void *b, int type_b, int ldb, long long step_b, const void *beta, void *c,
                               int type_c, int ldc, long long step_c, int count, int compute, int) {
  if (lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m) return 7;  // CUBLAS_STATUS_INVALID_VALUE
  double one = compute == 70 ? *(const double *)alpha : *(const float *)alpha;
  double old = compute == 70 ? *(const double *)beta : *(const float *)beta;
  if (one != 1 || old != 0) return 15;  // not needed here
  return done([=] {
    for (int i = 0; i < count; ++i)
      for (int y = 0; y < m; ++y)
        for (int x = 0; x < n; ++x) {
          double sum = 0;
          for (int z = 0; z < k; ++z)
            sum += load(a, type_of(type_a), i * step_a + (ta ? (long long)y * lda + z : (long long)z * lda + y)) *
                   load(b, type_of(type_b), i * step_b + (tb ? (long long)z * ldb + x : (long long)x * ldb + z));
          store(c, type_of(type_c), i * step_c + (long long)x * ldc + y, sum);
        }
  });
}
}
