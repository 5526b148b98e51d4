"""Where methods come from: authors, venue and link, by a short name."""

from __future__ import annotations

SOURCES = {
    "famus": "Xu et al., CVPR 2021, https://arxiv.org/abs/2104.15092",
    "mwnet": "Shu et al., NeurIPS 2019, https://arxiv.org/abs/1902.07379",
    "l2r": "Ren et al., ICML 2018, https://arxiv.org/abs/1803.09050",
    "mlc": "Wang et al., CVPR 2020, https://doi.org/10.1109/CVPR42600.2020.00458",
    "robust mwnet": "Ghosh and Lan, WACV 2021, https://arxiv.org/abs/2104.09045",
    "clid": "Hu et al., KDD 2025, https://arxiv.org/abs/2507.11807",
    "cmwnet": "Shu et al., TPAMI 2023, https://arxiv.org/abs/2202.05613",
    "co-teaching": "Han et al., NeurIPS 2018, https://arxiv.org/abs/1804.06872",
    "m-correction": "Arazo et al., ICML 2019, https://arxiv.org/abs/1904.11238",
    "label correction": "Zheng et al., AAAI 2021, https://arxiv.org/abs/1911.03809",
    "confident learning": "Northcutt et al., JAIR 2021, https://arxiv.org/abs/1911.00068",
    "elr": "Liu et al., NeurIPS 2020, https://arxiv.org/abs/2007.00151",
    "sop": "Liu et al., ICML 2022, https://arxiv.org/abs/2202.14026",
    "gce": "Zhang and Sabuncu, NeurIPS 2018, https://arxiv.org/abs/1805.07836",
    "sce": "Wang et al., ICCV 2019, https://arxiv.org/abs/1908.06112",
    "apl": "Ma et al., ICML 2020, https://arxiv.org/abs/2006.13554",
    "mae": "Ghosh et al., AAAI 2017, https://arxiv.org/abs/1712.09482",
    "smoothing": "Lukasik et al., ICML 2020, https://arxiv.org/abs/2003.02819",
    "bootstrapping": "Reed et al., ICLR 2015 workshop, https://arxiv.org/abs/1412.6596",
    "mixup": "Zhang et al., ICLR 2018, https://arxiv.org/abs/1710.09412",
    "mentornet": "Jiang et al., ICML 2018, https://arxiv.org/abs/1712.05055",
    "mentormix": "Jiang et al., ICML 2020, https://arxiv.org/abs/1911.09781",
    "focal": "Lin et al., ICCV 2017, https://arxiv.org/abs/1708.02002",
    "class-balanced": "Cui et al., CVPR 2019, https://arxiv.org/abs/1901.05555",
    "ldam": "Cao et al., NeurIPS 2019, https://arxiv.org/abs/1906.07413",
    "dividemix": "Li et al., ICLR 2020, https://arxiv.org/abs/2002.07394",
}
