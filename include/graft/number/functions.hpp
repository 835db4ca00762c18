#pragma once
// Exponential, logarithm, powers and their kin on SIMD registers: one text for float and double on every instruction
// set. `ops/elementwise.hpp` gives each its public name and derivative. Unless it says otherwise a function is off by
// less than two units in the last place, also for denormal arguments, and does at infinities and NaN what C's does.
// Results below the smallest normal number are cut to zero or may be: denormals would slow every later product a
// hundredfold.
//
// Coefficients are those of minimax fits, whose own error is below a tenth of a unit.

#include <bit>

#include "graft/number/simd.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace native {

/// True where `fma` rounds once.
#if defined(__FMA__) || defined(__AVX512F__) || defined(__aarch64__)
inline constexpr bool kFused = true;
#else
inline constexpr bool kFused = false;
#endif

/// Numbers as their bits: sign, exponent + `bias`, and a fraction.
template <class T>
struct Bits {
  using Word = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  typedef Word Words __attribute__((vector_size(sizeof(T) * Simd<T>::size)));
  using Register = typename Simd<T>::Register;

  static constexpr int fraction = std::numeric_limits<T>::digits - 1;
  static constexpr int bias = std::numeric_limits<T>::max_exponent - 1;
  static constexpr Word sign = Word{1} << (8 * sizeof(T) - 1);
  /// Added to a whole number of moderate size, leaves that number in the lowest bits.
  static constexpr T shifter = T(1.5) * static_cast<T>(Word{1} << fraction);

  static Words of(Simd<T> a) { return (Words)a.v.data; }
  static Simd<T> number(Words words) { return Register((decltype(Register::data))words); }
};

/// c0 + c1 x + c2 x^2 ... by Horner's rule.
template <class T>
[[gnu::always_inline]] inline Simd<T> polynomial(Simd<T>, T c0) {
  return c0;
}
template <class T, class... Cs>
[[gnu::always_inline]] inline Simd<T> polynomial(Simd<T> x, T c0, Cs... rest) {
  return fma(polynomial(x, static_cast<T>(rest)...), x, Simd<T>(c0));
}

/// a b, and 0 where either is 0, whatever the other. In operators of the compiler's vectors, so that it is folded where
/// one is a constant, as many slopes are: a number other than 0 needs no comparison.
template <class T>
[[gnu::always_inline]] inline Simd<T> chain_product(Simd<T> a, Simd<T> b) {
  typedef T Values __attribute__((vector_size(sizeof(T) * Simd<T>::size)));
  using Register = typename Simd<T>::Register;
  const Values x = (Values)a.v.data, y = (Values)b.v.data, zero = {};
  const auto number = [](const Values& v) __attribute__((always_inline)) {
    return __builtin_constant_p(v[0]) && v[0] != 0 && v[0] - v[0] == 0;
  };
  const Values product = number(x) || number(y) ? x * y : x == zero ? zero : y == zero ? zero : x * y;
  return Register((decltype(Register::data))product);
}
/// The larger, or the NaN if one is.
template <class T>
Simd<T> maximum(Simd<T> a, Simd<T> b) {
  return where(a == a, native::max(a, b), a);
}
/// The smaller, or the NaN if one is.
template <class T>
Simd<T> minimum(Simd<T> a, Simd<T> b) {
  return where(a == a, native::min(a, b), a);
}

/// |a| with the sign of `b`.
template <class T>
Simd<T> with_sign(Simd<T> a, Simd<T> b) {
  using W = Bits<T>;
  return W::number((W::of(a) & ~W::sign) | (W::of(b) & W::sign));
}

/// What rounding left of the product `p` = a b.
template <class T>
[[gnu::always_inline]] inline Simd<T> product_error(Simd<T> a, Simd<T> b, Simd<T> p) {
  using B = Simd<T>;
  if constexpr (kFused) {
    return fma(a, b, -p);
  } else {  // Dekker 1971: halves whose products are exact
    constexpr T splitter = sizeof(T) == 4 ? T(4097) : T(134217729);
    const auto upper = [](B x) {
      const B scaled = x * B(splitter);
      return scaled - (scaled - x);
    };
    const B a1 = upper(a), a0 = a - a1, b1 = upper(b), b0 = b - b1;
    return ((a1 * b1 - p) + a1 * b0 + a0 * b1) + a0 * b0;
  }
}

/// log 2 in two parts; a whole number as large as an exponent times the first is exact.
template <class T>
inline constexpr T kLog2[2] = {sizeof(T) == 4 ? T(0.693359375) : T(6.93147180369123816490e-01),
                               sizeof(T) == 4 ? T(-2.12194440e-04) : T(1.90821492927058770002e-10)};
/// Where e^x leaves the range of normal numbers.
template <class T>
inline constexpr T kExpLow = sizeof(T) == 4 ? T(-87.33654) : T(-708.396418532264);
template <class T>
inline constexpr T kExpHigh = sizeof(T) == 4 ? T(88.72283) : T(709.782712893384);

/// x = n log 2 + r, |r| <= log(2) / 2; `whole` holds n in its lowest bits. For x between kExpLow and kExpHigh, and
/// anything for others.
template <class T>
struct ExpParts {
  typename Bits<T>::Words whole;
  Simd<T> n, r;

  [[gnu::always_inline]] explicit ExpParts(Simd<T> x) {
    using B = Simd<T>;
    const B shifted = fma(x, B(T(1.4426950408889634)), B(Bits<T>::shifter));
    whole = Bits<T>::of(shifted);
    n = shifted - B(Bits<T>::shifter);
    r = fma(n, B(-kLog2<T>[1]), fma(n, B(-kLog2<T>[0]), x));
  }
  /// a 2^(n + extra), by the exponents alone.
  [[gnu::always_inline]] Simd<T> scale(Simd<T> a, int extra = 0) const {
    using W = Bits<T>;
    using Word = typename W::Word;
    return W::number(W::of(a) + (whole << W::fraction) + (static_cast<Word>(extra) << W::fraction));
  }
};

/// (e^r - 1 - r) / r^2 for |r| <= log(2) / 2.
template <class T>
[[gnu::always_inline]] inline Simd<T> exp_tail(Simd<T> r) {
  if constexpr (sizeof(T) == 4)
    return polynomial(r, 4.999999345e-01f, 1.666652063e-01f, 4.166838805e-02f, 8.368716898e-03f, 1.381459838e-03f);
  else
    return polynomial(r, 0.500000000000001072, 0.166666666666664102, 0.0416666666665291885, 0.00833333333349562961,
                      0.00138888889439226993, 0.000198412695047529585, 0.0000248014927627173865, 2.75575873532380299e-6,
                      2.76303786515280134e-7, 2.4999961847495402e-8);
}

/// `y` for x up to `high`, infinity above, NaN for a NaN.
template <class T>
[[gnu::always_inline]] inline Simd<T> overflowing(Simd<T> x, T high, Simd<T> y) {
  return where(x <= Simd<T>(high), y, x * Simd<T>(std::numeric_limits<T>::infinity()));
}

/// (e^x - 1) / 4, which is finite wherever sinh(x) is, for x >= -20 (float) or -40 (double).
template <class T>
[[gnu::always_inline]] inline Simd<T> quarter_expm1(Simd<T> x) {
  const ExpParts<T> parts(x);
  const Simd<T> p = fma(parts.r * parts.r, exp_tail(parts.r), parts.r);
  const Simd<T> quarter = parts.scale(Simd<T>(0.25));
  return fma(quarter, p, quarter - Simd<T>(0.25));
}

/// x = 2^e (1 + f) with 1 + f between sqrt(1/2) and sqrt(2), for a positive finite x.
template <class T>
struct LogParts {
  Simd<T> e, f;

  [[gnu::always_inline]] explicit LogParts(Simd<T> x) {
    using B = Simd<T>;
    using W = Bits<T>;
    using Word = typename W::Word;
    constexpr T lift = static_cast<T>(Word{1} << std::numeric_limits<T>::digits);
    constexpr T whole = static_cast<T>(Word{1} << W::fraction);
    constexpr Word root = std::bit_cast<Word>(T(0.70710678118654752)), one = std::bit_cast<Word>(T(1));
    constexpr Word fraction_mask = (Word{1} << W::fraction) - 1;
    const auto denormal = x < B(std::numeric_limits<T>::min());
    const typename W::Words words = W::of(where(denormal, x * B(lift), x)) + (one - root);
    const B lifted = where(denormal, B(whole + W::bias + std::numeric_limits<T>::digits), B(whole + W::bias));
    e = W::number((words >> W::fraction) | std::bit_cast<Word>(whole)) - lifted;
    f = W::number((words & fraction_mask) + root) - B(1);
  }
};

/// `y` for 0 < x < infinity, and what log gives for others.
template <class T>
[[gnu::always_inline]] inline Simd<T> log_or_limit(Simd<T> x, Simd<T> y) {
  using B = Simd<T>;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  const B limit = where(x == B(0), B(-infinity), where(x > B(0), x, B(std::numeric_limits<T>::quiet_NaN())));
  return where(x > B(0) && x < B(infinity), y, limit);
}

/// A number as the sum of two, the second at most half a unit of the first.
template <class T>
struct Twofold {
  Simd<T> high, low;
};
/// a + b for |a| >= |b| or a = 0.
template <class T>
[[gnu::always_inline]] inline Twofold<T> sum_of(Simd<T> a, Simd<T> b) {
  const Simd<T> high = a + b;
  return {high, b - (high - a)};
}
template <class T>
[[gnu::always_inline]] inline Twofold<T> product_of(Simd<T> a, Simd<T> b) {
  const Simd<T> high = a * b;
  return {high, product_error(a, b, high)};
}

/// log(x) with a third more digits than T has, for positive finite x: 2 s + 2/3 s^3 + 2/5 s^5 ... with s = f / (2 + f),
/// the first two terms and s itself twofold.
template <class T>
[[gnu::always_inline]] inline Twofold<T> twofold_log(Simd<T> x) {
  using B = Simd<T>;
  const LogParts<T> parts(x);
  const B f = parts.f, d = B(2) + f, d_low = f - (d - B(2)), inverse = B(1) / d;
  const B s = f * inverse;
  const Twofold<T> back = product_of(s, d);
  const B s_low = (((f - back.high) - back.low) - s * d_low) * inverse;

  Twofold<T> z = product_of(s, s);
  z.low = fma(s + s, s_low, z.low);
  B q;
  if constexpr (sizeof(T) == 4)
    q = polynomial(z.high, 0.3999999817f, 0.2857187449f, 0.221849764f, 0.1946850457f);
  else
    q = polynomial(z.high, 0.3999999999999997741, 0.2857142857144516427, 0.2222222221752386164, 0.1818181887184404676,
                   0.1538455676748338213, 0.1333632137846703245, 0.1167473847739396911, 0.1198967755217813853);
  constexpr T third = static_cast<T>(2.0L / 3), third_low = static_cast<T>(2.0L / 3 - static_cast<long double>(third));
  Twofold<T> c = sum_of(B(third), z.high * q);
  c.low = c.low + fma(z.low, q, B(third_low));

  Twofold<T> cube = product_of(s, z.high);
  cube.low = cube.low + fma(s, z.low, s_low * z.high);
  Twofold<T> tail = product_of(cube.high, c.high);
  tail.low = tail.low + fma(cube.high, c.low, cube.low * c.high);

  const Twofold<T> of_f = sum_of(s + s, tail.high), of_x = sum_of(parts.e * B(kLog2<T>[0]), of_f.high);
  return sum_of(of_x.high, of_x.low + (of_f.low + (tail.low + (s_low + s_low)) + parts.e * B(kLog2<T>[1])));
}

/// e^x, zero below the smallest normal number.
template <class T>
Simd<T> exp(Simd<T> x) {
  const SimdMask<T> tiny = x < Simd<T>(kExpLow<T>);
#ifdef __AVX512F__
  if constexpr (std::is_same_v<T, float>) {
    using Register = typename Simd<T>::Register;
    const Simd<T> at = native::min(Simd<T>(89.0f), x);
    const Simd<T> n(Register(_mm512_roundscale_ps((at * 1.44269504f).v, _MM_FROUND_TO_NEAREST_INT)));
    const Simd<T> r = fma(n, Simd<T>(-kLog2<T>[1]), fma(n, Simd<T>(-kLog2<T>[0]), at));
    const Simd<T> power = fma(fma(exp_tail(r), r, Simd<T>(1)), r, Simd<T>(1));
    return Register(_mm512_maskz_scalef_ps((!tiny).v, power.v, n.v));
  }
#endif
  const ExpParts<T> parts(x);
  const Simd<T> power = fma(fma(exp_tail(parts.r), parts.r, Simd<T>(1)), parts.r, Simd<T>(1));
  return where(tiny, Simd<T>(0), overflowing(x, kExpHigh<T>, parts.scale(power)));
}
/// e^x - 1, as accurate near 0.
template <class T>
Simd<T> expm1(Simd<T> x) {
  constexpr T low = sizeof(T) == 4 ? T(-20) : T(-40);  // there it rounds to -1
  return overflowing(x, kExpHigh<T>, quarter_expm1(native::max(Simd<T>(low), x)) * Simd<T>(4));
}

/// Natural logarithm.
template <class T>
Simd<T> log(Simd<T> x) {
  using B = Simd<T>;
  const LogParts<T> parts(x);
  // log(1 + f) = 2 s + s^3 L(s^2) with s = f / (2 + f), ordered so that f itself, which is exact, dominates.
  const B f = parts.f, s = f / (B(2) + f), z = s * s, half_square = B(0.5) * f * f;
  B l;
  if constexpr (sizeof(T) == 4)
    l = polynomial(z, 0.6666677661f, 0.3997751297f, 0.2987252714f);
  else
    l = polynomial(z, 0.6666666666666734683, 0.3999999999941273696, 0.2857142874285276882, 0.222221985221126705,
                   0.1818356714824114654, 0.1531397420032940778, 0.1479675379838365232);
  const B tail = fma(s, fma(z, l, half_square), parts.e * B(kLog2<T>[1]));
  return log_or_limit(x, fma(parts.e, B(kLog2<T>[0]), f - (half_square - tail)));
}
/// log(1 + x), as accurate near 0.
template <class T>
Simd<T> log1p(Simd<T> x) {
  using B = Simd<T>;
  const B u = B(1) + x, lost = x - (u - B(1));
  return native::log(u) + where(native::abs(lost) > B(0), lost / u, B(0));
}

/// x^y as C's pow: 1 for y = 0 and for x = 1 whatever the other; for x < 0 a power of -x with its sign where y is
/// whole, else NaN.
template <class T>
Simd<T> pow(Simd<T> x, Simd<T> y) {
  using B = Simd<T>;
  constexpr T infinity = std::numeric_limits<T>::infinity();
  const B size = native::abs(x);
  const Twofold<T> log_size = twofold_log(size);
  const B l = where(size == B(0), B(-infinity), where(size < B(infinity), log_size.high, size));
  const B p = y * l, p_low = fma(y, log_size.low, product_error(y, l, p));
  const B a = where(native::abs(p) < B(2 * kExpHigh<T>), p + p_low, p), a_low = p_low - (a - p);

  // Brought to its size in two steps, so that the last powers inside the range and the first outside are told apart.
  const ExpParts<T> parts(a);
  const B r = parts.r + a_low, power = fma(fma(exp_tail(r), r, B(1)), r, B(1));
  const B scaled = where(a > B(0), parts.scale(power, -1) * B(2), parts.scale(power, 1) * B(0.5));
  B value = overflowing(a, kExpHigh<T> + T(0.01), scaled);
  value = where(a < B(kExpLow<T> - T(0.01)) || value < B(std::numeric_limits<T>::min()), B(0), value);

  const auto whole = native::floor(y) == y, odd = whole && native::floor(y * B(0.5)) * B(2) != y;
  value = where(size == B(1), B(1), value);
  value = where(x < B(0) && !whole && x > B(-infinity), B(std::numeric_limits<T>::quiet_NaN()), value);
  value = where(odd, with_sign(value, x), value);
  value = where(x == x && y == y, value, x + y);
  return where(x == B(1) || y == B(0), B(1), value);
}

template <class T>
Simd<T> sin(Simd<T> x) {
  return xsimd::sin(x.v);
}
template <class T>
Simd<T> cos(Simd<T> x) {
  return xsimd::cos(x.v);
}
/// Arc tangent: that of (x - 1) / (x + 1) or -1 / x and an eighth or a quarter of a turn, where |x| is above
/// tan(pi / 8).
template <class T>
Simd<T> atan(Simd<T> x) {
  using B = Simd<T>;
  constexpr T quarter_pi = T(0.78539816339744830962L), half_pi = T(1.57079632679489661923L);
  constexpr T quarter_low = T(0.78539816339744830962L - static_cast<long double>(quarter_pi));
  const B size = native::abs(x), one(1), zero(0);
  const auto middle = size > B(T(0.41421356237309505)), large = size > B(T(2.4142135623730950));
  const B above = where(large, -one, where(middle, size - one, size));
  const B below = where(large, size, where(middle, size + one, one));
  const B base = where(large, B(half_pi), where(middle, B(quarter_pi), zero));
  const B base_low = where(large, B(2 * quarter_low), where(middle, B(quarter_low), zero));
  const B u = above / below, z = u * u;
  B p;
  if constexpr (sizeof(T) == 4)
    p = polynomial(z, -0.3333331542f, 0.1999848397f, -0.1424373818f, 0.105951358f, -0.06081146786f);
  else
    p = polynomial(z, -0.3333333333333332752, 0.1999999999999767009, -0.1428571428538811732, 0.1111111108818404469,
                   -0.09090908144738220664, 0.07692282763095904109, -0.06666226818770563472, 0.05877022361560962553,
                   -0.05218407780664373029, 0.04503562271484622612, -0.03347473395998652742, 0.01519541228834791778);
  return with_sign(base + (u + fma(u * z, p, base_low)), x);
}

/// (e^x - e^-x) / 2
template <class T>
Simd<T> sinh(Simd<T> x) {
  using B = Simd<T>;
  constexpr T high = sizeof(T) == 4 ? T(89.415985) : T(710.4758600739439);
  const B size = native::abs(x), q = quarter_expm1(size);
  return with_sign(overflowing(size, high, (q + q / fma(q, B(4), B(1))) * B(2)), x);
}
/// (e^x + e^-x) / 2
template <class T>
Simd<T> cosh(Simd<T> x) {
  using B = Simd<T>;
  constexpr T high = sizeof(T) == 4 ? T(89.415985) : T(710.4758600739439);
  const B size = native::abs(x), quarter = quarter_expm1(size) + B(0.25);
  return overflowing(size, high, fma(quarter, B(2), B(0.125) / quarter));
}
/// Hyperbolic tangent; off by less than five units for floats.
template <class T>
Simd<T> tanh(Simd<T> x) {
  using B = Simd<T>;
  const B one(1);
  if constexpr (sizeof(T) == 4) {
    // x P(x^2) / Q(x^2), off by 7e-9 at most; beyond 9.02 the value rounds to 1.
    const B limit(9.02f);
    const B at = native::max(-limit, native::min(limit, x)), z = at * at;
    const B p = polynomial(z, 1.0f, 1.308316102e-01f, 3.103005929e-03f, 1.114430269e-05f, -2.018414905e-08f,
                           5.257861304e-11f, -8.436242923e-14f);
    const B y = native::max(
        -one, native::min(one, at * p / polynomial(z, 1.0f, 4.641648799e-01f, 2.449139941e-02f, 2.544757775e-04f)));
    if constexpr (kFused) return y;
    return where(native::abs(x) < limit || x != x, y, with_sign(one, x));
  } else {
    const B size = native::abs(x), half = quarter_expm1(native::min(B(40), size + size)) * B(2);
    return with_sign(half / (half + B(1)), x);
  }
}

/// 1 / (1 + e^-x)
template <class T>
Simd<T> sigmoid(Simd<T> x) {
  using B = Simd<T>;
  const B e = native::exp(-native::abs(x)), over = B(1) / (B(1) + e);
  return where(x < B(0), e * over, over);
}
/// e^-x / (1 + e^-x)^2
template <class T>
Simd<T> logistic_density(Simd<T> x) {
  using B = Simd<T>;
  const B e = native::exp(-native::abs(x)), over = B(1) / (B(1) + e);
  return e * over * over;
}

/// 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x; off by less than five units.
template <class T>
Simd<T> erf(Simd<T> x) {
  using B = Simd<T>;
  // x P(x^2) / Q(x^2) up to where the value rounds to 1.
  const B one(1), limit(sizeof(T) == 4 ? T(3.93) : T(5.95));
  const B at = native::max(-limit, native::min(limit, x)), z = at * at;
  B p, q;
  if constexpr (sizeof(T) == 4) {
    p = polynomial(z, 1.128379169f, 0.1851476081f, 0.05425476752f, 0.003840295548f, 0.0003771691372f, 4.620102112e-06f,
                   -1.285819151e-08f);
    q = polynomial(z, 1.0f, 0.4974162028f, 0.1138869507f, 0.01543484989f, 0.001302412154f, 6.25012799e-05f);
  } else {
    p = polynomial(z, 1.1283791670955125806, 0.22168427184162432125, 0.066724561555709420846, 0.0070368257414887266055,
                   0.00088258165721856833106, 0.000059864861236287612309, 4.1957529859500601051e-6,
                   1.8831765046561704515e-7, 7.8898127102932534759e-9, 2.1432092646361322227e-10,
                   4.7591712546352319575e-12, 4.120366961389140541e-14, 4.9377582527894288508e-17,
                   -1.9106919440484875178e-20);
    q = polynomial(z, 1.0, 0.52979590398877000195, 0.13573173770261516829, 0.022310070420057404328,
                   0.0026302425587322084613, 0.00023531931311174327042, 0.00001646130887691437032,
                   9.1198466885257355946e-7, 3.9927742736234909945e-8, 1.3526505163250526145e-9,
                   3.352424940304794892e-11, 5.2911048713639680709e-13, 2.0178594020749468885e-15);
  }
  const B y = native::max(-one, native::min(one, at * p / q));
  return where(native::abs(x) < limit || x != x, y, with_sign(one, x));
}
/// 1 - erf(x), as accurate in its right tail; off by less than eight units.
template <class T>
Simd<T> erfc(Simd<T> x) {
  using B = Simd<T>;
  // e^(x^2) erfc(x) = P(x) / Q(x) to where it is below the smallest normal number.
  const B size = native::min(B(sizeof(T) == 4 ? T(9.4) : T(27.3)), native::abs(x));
  B p, q;
  if constexpr (sizeof(T) == 4) {
    p = polynomial(size, 1.0f, 1.232270575f, 0.7251892509f, 0.226166763f, 0.03215782417f);
    q = polynomial(size, 1.0f, 2.360650249f, 2.388889544f, 1.313395447f, 0.4008996951f, 0.05699744839f);
  } else {
    p = polynomial(size, 1.0, 2.3410272385479771877, 2.7169017855331416297, 2.0197789520178100069, 1.055215728965788933,
                   0.40298179807532859273, 0.11377574816398495957, 0.023479150688545468208, 0.0034022923050050929027,
                   0.00031482275486604451383, 0.000014301038574351827828);
    q = polynomial(size, 1.0, 3.4694064056434900546, 5.6317076958489635357, 5.6573269636057547238,
                   3.9169885271710513328, 1.9681687541531367203, 0.73479549335113682766, 0.20466479195195314063,
                   0.041894715459364873662, 0.0060430800632851939397, 0.00055800880421599283582,
                   0.000025347930893052179795);
  }
  const B square = size * size, power = native::exp(-square);
  const B tail = fma(-power, product_error(size, size, square), power) * (p / q);
  return where(x < B(0), B(2) - tail, tail);
}

}  // namespace native
}  // namespace GRAFT_ABI
}  // namespace graft
