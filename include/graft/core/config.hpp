#pragma once
// Version, and the name of the inline namespace that keeps differently compiled translation units apart.

/// A release promises source compatibility within one major version (within one minor version before 1.0).
#define GRAFT_VERSION_MAJOR 0
#define GRAFT_VERSION_MINOR 1
#define GRAFT_VERSION_PATCH 0

#if !defined(__cplusplus) || __cplusplus < 202002L
#error "graft needs C++20 (-std=c++20)"
#endif
#ifdef __FAST_MATH__
#error "graft keeps IEEE semantics: build without -ffast-math"
#endif
#ifndef __cpp_exceptions
#error "graft reports errors by exceptions: build without -fno-exceptions"
#endif
#if defined(__ARM_FEATURE_SVE_BITS) && __ARM_FEATURE_SVE_BITS > 0
#error "graft's kernels are NEON's on AArch64: build without -msve-vector-bits"
#endif

// Everything that changes code or layout is part of the namespace's name, so that objects built with different flags
// hold different symbols and link into one program safely.
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512CD__)
#define GRAFT_ABI_SIMD avx512
#elif defined(__AVX2__) && defined(__FMA__)
#define GRAFT_ABI_SIMD avx2_fma
#elif defined(__AVX2__)
#define GRAFT_ABI_SIMD avx2
#elif defined(__AVX__)
#define GRAFT_ABI_SIMD avx
#elif defined(__SSE4_2__)
#define GRAFT_ABI_SIMD sse4_2
#else
#define GRAFT_ABI_SIMD baseline
#endif
#ifdef _OPENMP
#define GRAFT_ABI_THREADS omp
#else
#define GRAFT_ABI_THREADS serial
#endif
#define GRAFT_JOIN_(a, b, c) a##_##b##_##c
#define GRAFT_JOIN(a, b, c) GRAFT_JOIN_(a, b, c)
/// Inline namespace of all of graft: `graft::Tensor<>` is `graft::v0_avx512_omp::Tensor<>` in such a build.
#define GRAFT_ABI GRAFT_JOIN(v0, GRAFT_ABI_SIMD, GRAFT_ABI_THREADS)

// Before a long function that is no template: makes it one, so that the library graft::compiled can hold it, where
// `inline` would compile it in every program.
#define GRAFT_ONCE template <class = void>

// Below such a function, or a template, of a header that graft/graft.hpp does not include: its declaration, which makes
// the library hold it: GRAFT_HELD(void name<>(int)). The header stands in graft/compiled_functions.hpp.
#ifdef GRAFT_COMPILED
#ifndef GRAFT_COMPILED_FUNCTIONS
#define GRAFT_COMPILED_FUNCTIONS extern template
#endif
#define GRAFT_HELD(...) GRAFT_COMPILED_FUNCTIONS __VA_ARGS__;
#else
#define GRAFT_HELD(...)
#endif
