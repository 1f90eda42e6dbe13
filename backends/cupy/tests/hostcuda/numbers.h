// Elements of memory by their type in the libraries' own numbering.
#include <cstdint>
#include <cstring>

template <class To, class From> static To bits(From x) { To y; memcpy(&y, &x, sizeof y); return y; }

enum Type { FLOAT, DOUBLE, HALF, BFLOAT };

static double load(const void *p, Type type, long long i) {
  switch (type) {
    case FLOAT: return ((const float *)p)[i];
    case DOUBLE: return ((const double *)p)[i];
    case HALF: return (float)((const _Float16 *)p)[i];
    default: return bits<float>((uint32_t)((const uint16_t *)p)[i] << 16);
  }
}

static void store(void *p, Type type, long long i, double x) {
  switch (type) {
    case FLOAT: ((float *)p)[i] = (float)x; break;
    case DOUBLE: ((double *)p)[i] = x; break;
    case HALF: ((_Float16 *)p)[i] = (_Float16)x; break;
    default: {
      uint32_t u = bits<uint32_t>((float)x);
      ((uint16_t *)p)[i] = x != x ? (u >> 16) | 0x40 : (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    }
  }
}
