// What programs for CUDA need, on the host: threads of a block take turns at barriers.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>

using namespace std;


struct Place { unsigned x, y, z; };
static Place threadIdx, blockIdx;

static inline float cospi(float x) { return cos(3.14159265358979323846f * x); }
static inline double cospi(double x) { return cos(3.14159265358979323846 * x); }
template <class To, class From> static To bits(From x) { To y; memcpy(&y, &x, sizeof y); return y; }
static inline float __int_as_float(int x) { return bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return bits<float>(x); }
static inline int __float_as_int(float x) { return bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return bits<unsigned>(x); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
static inline int atomicCAS(int *place, int old, int now) { int was = *place; if (was == old) *place = now; return was; }
static inline float from_half(unsigned short x) { return (float)bits<_Float16>(x); }
template <class Number> static unsigned short to_half(Number x) { return bits<unsigned short>((_Float16)x); }

// ---- a block: one context for each thread, resumed in turn until all have ended
static const unsigned THREADS = 1024, STACK = 1 << 16;
static ucontext_t scheduler, *contexts;
static char *stacks;
static bool ended[THREADS];
static unsigned current;
static void (*body)(void *);
static void *body_data;

static void __syncthreads() { unsigned me = current; swapcontext(&contexts[me], &scheduler); }
static void entry() { body(body_data); ended[current] = true; }

static void run_block(unsigned threads) {
  if (!contexts) {
    contexts = (ucontext_t *)calloc(THREADS, sizeof(ucontext_t));
    stacks = (char *)malloc((size_t)THREADS * STACK);
  }
  for (unsigned t = 0; t < threads; ++t) {
    ended[t] = false;
    getcontext(&contexts[t]);
    contexts[t].uc_stack.ss_sp = stacks + (size_t)t * STACK;
    contexts[t].uc_stack.ss_size = STACK;
    contexts[t].uc_link = &scheduler;
    makecontext(&contexts[t], entry, 0);
  }
  for (bool left = true; left;) {
    left = false;
    for (current = 0; current < threads; ++current)
      if (!ended[current]) {
        threadIdx.x = current;
        swapcontext(&scheduler, &contexts[current]);
        left |= !ended[current];
      }
  }
}

template <class... A> struct Call { void (*f)(A...); void **p; };
template <class A> struct Bare { typedef A type; };
template <class A> struct Bare<const A> { typedef A type; };
template <int... I> struct Numbers {};
template <class... A, int... I> static void apply_one(void (*f)(A...), void **p, Numbers<I...>) {
  f(*(typename Bare<A>::type *)p[I]...);
}
template <class... A> static void run(void (*f)(A...), void **p, unsigned grid, unsigned block, bool together) {
  Call<A...> call{f, p};
  for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x) {
    if (!together) {
      for (threadIdx.x = 0; threadIdx.x < block; ++threadIdx.x) apply_one(f, p, Numbers<__integer_pack((int)sizeof...(A))...>{});
    } else {
      body = [](void *data) { auto *c = (Call<A...> *)data; apply_one(c->f, c->p, Numbers<__integer_pack((int)sizeof...(A))...>{}); };
      body_data = &call;
      run_block(block);
    }
  }
}

template <class... A> static int sizes_of(void (*)(A...), int *sizes) {
  int k = 0;
  ((sizes[k++] = (int)sizeof(A)), ...);
  return k;
}

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __grid_constant__
#define __launch_bounds__(n)
#define ulong ulong_of_the_device  // the host's headers have a type of this name
