// Geometry of x (blocks, outer, channels, inner) where inner is short: a block is a matrix (outer, channels * inner)
// whose columns belong to channels. Tiles of neighboring columns are visited together, row by row.
#pragma once
#include "../parallel.h"
#include "channels.h"
#include "sums.h"

namespace trimtab {
namespace {

constexpr ptrdiff_t max_tile_columns = 1024;

struct ChannelColumns {
    ChannelLayout l;
    ptrdiff_t outer_per_row;  // several steps of outer share a row of the matrix if they are shorter than 64 values
    ptrdiff_t tile_channels;
    explicit ChannelColumns(const ChannelLayout& layout)
        : l(layout),
          outer_per_row(max(1, min(64 / (l.channels * l.inner), l.outer))),
          tile_channels(outer_per_row > 1 ? l.channels : min(l.channels, max(1, max_tile_columns / l.inner))) {}
    bool column_is_channel() const { return outer_per_row == 1 && l.inner == 1; }
    ptrdiff_t units() const { return trimtab::units(l); }
    ptrdiff_t width() const { return outer_per_row * l.channels * l.inner; }
    ptrdiff_t rows() const { return ceil_div(l.outer, outer_per_row); }  // the last one may be shorter
    ptrdiff_t block_size() const { return l.outer * l.channels * l.inner; }
    ptrdiff_t tile_columns() const { return outer_per_row * tile_channels * l.inner; }
    ptrdiff_t tiles_per_block() const { return ceil_div(l.channels, tile_channels); }
    ptrdiff_t tiles() const { return l.blocks * tiles_per_block(); }
    // Panels of a tile: about 32 in a block, of at least 128 rows each, since a task takes time to start. Their number
    // does not depend on the number of blocks.
    ptrdiff_t rows_per_panel() const { return min(rows(), max(128, ceil_div(rows() * tiles_per_block(), 32))); }
    ptrdiff_t panels() const { return ceil_div(rows(), rows_per_panel()); }
    ptrdiff_t panel_begin(ptrdiff_t panel) const { return min(panel * rows_per_panel(), rows()); }
    // Values of one channel in rows begin..end.
    double count(ptrdiff_t begin, ptrdiff_t end) const {
        return double(min(end * outer_per_row, l.outer) - begin * outer_per_row) * double(l.inner);
    }
};

// The columns (outer_per_row, channels, inner) of some neighboring channels of a block.
struct Tile {
    const ChannelColumns& matrix;
    ptrdiff_t block, channel, channels;  // first channel, number of channels
    Tile(const ChannelColumns& columns, ptrdiff_t index)
        : matrix(columns),
          block(index / columns.tiles_per_block()),
          channel(index % columns.tiles_per_block() * columns.tile_channels),
          channels(min(columns.tile_channels, columns.l.channels - channel)) {}
    ptrdiff_t unit() const { return block * matrix.l.channels + channel; }
    ptrdiff_t start() const { return block * matrix.block_size() + channel * matrix.l.inner; }
    ptrdiff_t columns() const { return matrix.outer_per_row * channels * matrix.l.inner; }
    ptrdiff_t columns_in(ptrdiff_t row) const { return min(columns(), matrix.block_size() - row * matrix.width()); }
    // Sums of channels from those of their columns.
    TRIMTAB_LOOP void reduce_columns(const double* column_sums, double* channel_sums) const {
        for (ptrdiff_t k = 0; k < channels; ++k) channel_sums[k] = 0;
        for (ptrdiff_t k = 0; k < matrix.outer_per_row * channels; ++k) {
            const double* const sums = column_sums + k * matrix.l.inner;
            double sum[1];
            reduce<double>(matrix.l.inner, sum, [&](ptrdiff_t i, auto at, auto& acc) { acc[0] += at.load(sums + i); });
            channel_sums[k % channels] += sum[0];
        }
    }
    // Constants of columns from those of their channels.
    template <class W>
    void expand(const W* of_channels, W* of_columns) const {
        for (ptrdiff_t r = 0; r < matrix.outer_per_row; ++r)
            for (ptrdiff_t k = 0; k < channels; ++k, of_columns += matrix.l.inner)
                sweep<W>(matrix.l.inner,
                         [&](ptrdiff_t i, auto at) { at.store(of_columns + i, broadcast(of_channels[k])); });
    }
};
}  // namespace
}  // namespace trimtab
