// The functions of cuBLAS that the backend calls, on the host, as their documentation describes them.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include "record.h"

template <class To, class From> static To bits(From x) { To y; memcpy(&y, &x, sizeof y); return y; }

static double load(const void *p, int type, long long i) {
  switch (type) {
    case 0: return ((const float *)p)[i];
    case 1: return ((const double *)p)[i];
    case 2: return (float)((const _Float16 *)p)[i];
    default: return bits<float>((uint32_t)((const uint16_t *)p)[i] << 16);
  }
}

static void store(void *p, int type, long long i, double x) {
  switch (type) {
    case 0: ((float *)p)[i] = (float)x; break;
    case 1: ((double *)p)[i] = x; break;
    case 2: ((_Float16 *)p)[i] = (_Float16)x; break;
    default: {
      uint32_t u = bits<uint32_t>((float)x);
      ((uint16_t *)p)[i] = x != x ? (u >> 16) | 0x40 : (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    }
  }
}

extern "C" {
int cublasCreate_v2(void **handle) { *handle = new char; return 0; }
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
            sum += load(a, type_a, i * step_a + (ta ? (long long)y * lda + z : (long long)z * lda + y)) *
                   load(b, type_b, i * step_b + (tb ? (long long)z * ldb + x : (long long)x * ldb + z));
          store(c, type_c, i * step_c + (long long)x * ldc + y, sum);
        }
  });
}
}
